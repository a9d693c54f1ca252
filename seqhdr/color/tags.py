"""Which encoding an image is in, as far as its header tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seqhdr.color.encodings import ENCODING_NAMES, ColorEncoding, get_encoding

__all__ = ["encoding_from_header"]


def encoding_from_header(attributes: Mapping[str, Any]) -> ColorEncoding | None:
    """Find the encoding by our own provenance, else by the ``colorInteropID`` of the Color Interop Forum.

    Args:
        attributes: header entries by name.

    Returns:
        One of the encodings with a short name, or None where the header names none of them.
    """
    ours, tag = attributes.get("seqhdr:output_space"), attributes.get("colorInteropID")
    for name in ENCODING_NAMES if ours or tag else ():
        encoding = get_encoding(name)
        if encoding.name == ours or (ours is None and encoding.interop_id == tag):
            return encoding
    return None
