"use strict";
{
{{ inline("viewer_unpack.js") }}
{{ inline("viewer_paint.js") }}
{{ inline("viewer_text.js") }}
{{ inline("viewer_place.js") }}
{{ inline("viewer.js") }}
}
