// The picture viewer of a report: unpacks the crops of "viewer-data" and shows them by WebGL2, one picture pixel on a
// whole number of device pixels. Names come from files: they reach the page as text only.
(() => {
  "use strict";

  const root = document.querySelector("[data-viewer]");
  const data = document.getElementById("viewer-data");
  if (!root || !data) return;
  const part = (name) => root.querySelector(`[data-${name}]`);
  const canvas = part("canvas");
  const stage = part("stage");
  const works = part("works");
  const sliders = { wipe: part("wipe"), exposure: part("exposure"), stretch: part("stretch"), zoom: part("zoom") };
  const selects = { frame: part("frame"), a: part("a"), b: part("b"), mode: part("mode") };

  const MAX_ZOOM = 16;
  const CLICK_PX = 4; // a press that moves less is a click
  const WHEEL_STEP = 40; // a notch of a mouse wheel is 100 or more, a trackpad sends many small ones
  const PAN_SHARE = 0.125; // of the canvas, per arrow key

  const VERTEX = `#version 300 es
    void main() { // one triangle over everything
      gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0);
    }`;
  const FRAGMENT = `#version 300 es
    precision highp float;
    precision highp int;
    precision highp sampler2D;
    uniform sampler2D a_lin, b_lin;
    uniform ivec2 origin_px;  // where the picture's left top pixel is, in device pixels of the canvas
    uniform int scale_px, canvas_height_px, wipe_px, mode;
    uniform float light_gain, stretch;
    uniform vec3 pivot;
    out vec4 colour;

    const float FLOOR = 1.0 / 4096.0;  // less light counts as this much, or black would be infinitely far away

    vec3 display(vec3 rgb_lin) {  // IEC 61966-2-1
      vec3 v = clamp(rgb_lin * light_gain, 0.0, 1.0);
      return mix(1.055 * pow(v, vec3(1.0 / 2.4)) - 0.055, 12.92 * v, lessThanEqual(v, vec3(0.0031308)));
    }

    bool broken(vec3 v) { return any(isnan(v)); }

    void main() {
      ivec2 at = ivec2(int(gl_FragCoord.x), canvas_height_px - 1 - int(gl_FragCoord.y)) - origin_px;
      ivec2 size = textureSize(a_lin, 0) * scale_px;
      if (any(lessThan(at, ivec2(0))) || any(greaterThanEqual(at, size))) {
        colour = vec4(0.0);
        return;
      }
      vec3 a = texelFetch(a_lin, at / scale_px, 0).rgb;
      vec3 b = texelFetch(b_lin, at / scale_px, 0).rgb;
      bool is_a = int(gl_FragCoord.x) < wipe_px;
      if (mode == 0 ? broken(is_a ? a : b) : broken(a) || broken(b)) {
        colour = vec4(1.0, 0.0, 1.0, 1.0);
        return;
      }
      vec3 shown;
      if (mode == 0) {
        shown = display(is_a ? a : b);
        if (stretch > 1.0) shown = (shown - pivot) * stretch + 0.5;
      } else if (mode == 1) {
        shown = abs(log2(max(a, FLOOR)) - log2(max(b, FLOOR))) * stretch;
      } else {
        shown = abs(display(a) - display(b)) * stretch;
      }
      colour = vec4(clamp(shown, 0.0, 1.0), 1.0);
    }`;
  const MODES = ["picture", "stops", "display"];

  // ---------------------------------------------------------------- what pack_viewer packed, unpacked

  async function inflate(base64, wordBytes) {
    const packed = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    const words = new Uint32Array(bytes.length / wordBytes);
    for (let plane = 0; plane < wordBytes; plane++) {
      for (let i = 0; i < words.length; i++) words[i] |= bytes[plane * words.length + i] << (8 * plane);
    }
    return words;
  }

  /** (H, W, 3) of 16 bits from folded differences of green, red - green and blue - green. */
  async function unpackPlanes(base64, width, height) {
    const folded = await inflate(base64, 2);
    const count = width * height;
    if (folded.length !== 3 * count) throw new Error("planes of another size");
    for (let i = 0; i < folded.length; i++) {
      const before = i % width ? folded[i - 1] : 0;
      folded[i] = (before + ((folded[i] >>> 1) ^ -(folded[i] & 1))) & 0xffff;
    }
    const values = new Uint16Array(3 * count);
    for (let i = 0; i < count; i++) {
      values[3 * i] = folded[count + i] + folded[i];
      values[3 * i + 1] = folded[i];
      values[3 * i + 2] = folded[2 * count + i] + folded[i];
    }
    return values;
  }

  async function unpackCurve(base64) {
    const bits = await inflate(base64, 4);
    for (let i = 1; i < bits.length; i++) bits[i] += bits[i - 1];
    return new Float32Array(bits.buffer);
  }

  let halves = null;
  function lightOfHalf() {
    if (halves) return halves;
    halves = new Float32Array(65536);
    for (let bits = 0; bits < 65536; bits++) {
      const exponent = (bits >> 10) & 31;
      const fraction = bits & 1023;
      let value = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
      if (exponent === 31) value = fraction ? NaN : Infinity;
      halves[bits] = bits >> 15 ? -value : value;
    }
    return halves;
  }

  /** What is shown of a picture: light is (H, W, 3) scene-linear Rec.709, codes is null where it is made of light. */
  async function unpackPicture(packed, crop) {
    const values = await unpackPlanes(packed.planes, crop.width, crop.height);
    const light = new Float32Array(values.length);
    if (packed.kind === "half") {
      const table = lightOfHalf();
      for (let i = 0; i < values.length; i++) light[i] = table[values[i]];
      return { name: packed.name, codes: null, light };
    }
    const curve = await unpackCurve(payload.curves[packed.curve]);
    const rows = packed.to_rec709;
    for (let i = 0; i < values.length; i += 3) {
      const [r, g, b] = [curve[values[i]], curve[values[i + 1]], curve[values[i + 2]]];
      for (let k = 0; k < 3; k++) light[i + k] = rows[k][0] * r + rows[k][1] * g + rows[k][2] * b;
    }
    return { name: packed.name, codes: values, light };
  }

  // ---------------------------------------------------------------- what is shown

  let payload = null;
  let gl = null;
  let uniforms = {};
  let crop = null; // of the payload
  let pictures = []; // its pictures, unpacked
  let a = null;
  let b = null;
  let scale = 1; // device pixels per picture pixel
  let fits = true; // until the user zooms or pans
  let origin = { x: 0, y: 0 }; // of the picture, in device pixels of the canvas
  let probe = null; // a pixel of the crop
  let pivot = null; // a pixel of the crop; null: the median
  let pivotLight = [0.18, 0.18, 0.18];
  let turn = 0; // of showCrop, so that a slow one does not come last
  let frameRequested = false;

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const modeIndex = () => MODES.indexOf(selects.mode.value);
  const lightGain = () => 2 ** Number(sliders.exposure.value);
  const stretch = () => 2 ** Number(sliders.stretch.value);
  const lightAt = (picture, at) => [0, 1, 2].map((k) => picture.light[3 * (at.y * crop.width + at.x) + k]);

  function sorry(sentence) {
    turn++;
    works.hidden = true;
    part("sorry").textContent = sentence;
    part("sorry").hidden = false;
  }

  function displayOf(lin) {
    const v = clamp(lin * lightGain(), 0, 1);
    return v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055;
  }

  function choosePivot(at) {
    pivot = at;
    if (at) {
      pivotLight = lightAt(a, at);
    } else {
      const channels = [0, 1, 2].map((k) => a.light.filter((_, i) => i % 3 === k).sort());
      pivotLight = channels.map((sorted) => sorted[sorted.length >> 1]);
    }
  }

  async function showCrop(index) {
    const mine = ++turn;
    canvas.dataset.ready = "false";
    const wanted = payload.crops[index];
    let unpacked;
    try {
      unpacked = await Promise.all(wanted.pictures.map((packed) => unpackPicture(packed, wanted)));
    } catch {
      if (mine === turn) sorry("The pictures in this page are damaged: write the report anew.");
      return;
    }
    if (mine !== turn) return;
    const names = unpacked.map((picture) => picture.name);
    const kept = (select, preferred) => [select.value, preferred].find((name) => names.includes(name));
    const nameA = kept(selects.a, "source") ?? names[0];
    const nameB = kept(selects.b, "result") ?? names.find((name) => name !== nameA) ?? nameA;
    crop = wanted;
    pictures = unpacked;
    selects.frame.selectedIndex = index;
    for (const [select, chosen] of [[selects.a, nameA], [selects.b, nameB]]) {
      select.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
    }
    part("where").textContent =
      `Frame ${crop.frame}, ${crop.why}: ${crop.width}×${crop.height} pixels at ${crop.x}, ${crop.y} ` +
      `of ${payload.width}×${payload.height}`;
    probe = null;
    fits = true;
    choosePictures();
    choosePivot(null);
    layOut();
    update();
  }

  function choosePictures() {
    const named = (select) => pictures.find((picture) => picture.name === select.value);
    [a, b] = [named(selects.a), named(selects.b)];
    if (pivot) choosePivot(pivot);
    upload();
  }

  // ---------------------------------------------------------------- WebGL2

  function shader(kind, text) {
    const made = gl.createShader(kind);
    gl.shaderSource(made, text);
    gl.compileShader(made);
    return made;
  }

  function setUp() {
    const program = gl.createProgram();
    gl.attachShader(program, shader(gl.VERTEX_SHADER, VERTEX));
    gl.attachShader(program, shader(gl.FRAGMENT_SHADER, FRAGMENT));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return false;
    gl.useProgram(program);
    uniforms = {};
    for (let i = 0; i < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); i++) {
      const { name } = gl.getActiveUniform(program, i);
      uniforms[name] = gl.getUniformLocation(program, name);
    }
    for (const unit of [0, 1]) {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    }
    gl.uniform1i(uniforms.a_lin, 0);
    gl.uniform1i(uniforms.b_lin, 1);
    return true;
  }

  function upload() {
    [a, b].forEach((picture, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.texImage2D(
        gl.TEXTURE_2D, 0, gl.RGB32F, crop.width, crop.height, 0, gl.RGB, gl.FLOAT, picture.light,
      );
    });
  }

  function draw() {
    if (!crop || gl.isContextLost()) return;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.uniform2i(uniforms.origin_px, origin.x, origin.y);
    gl.uniform1i(uniforms.scale_px, scale);
    gl.uniform1i(uniforms.canvas_height_px, canvas.height);
    gl.uniform1i(uniforms.wipe_px, Math.round((Number(sliders.wipe.value) / 100) * canvas.width));
    gl.uniform1i(uniforms.mode, modeIndex());
    gl.uniform1f(uniforms.light_gain, lightGain());
    gl.uniform1f(uniforms.stretch, stretch());
    gl.uniform3fv(uniforms.pivot, pivotLight.map(displayOf));
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    canvas.dataset.ready = "true";
  }

  // ---------------------------------------------------------------- size, zoom, pan

  const pixelRatio = () => window.devicePixelRatio || 1;

  /** Of one step of zoom, in device pixels. */
  const unit = () => Math.max(1, Math.round(pixelRatio()));

  function layOut() {
    if (!crop) return;
    const ratio = pixelRatio();
    const room = Math.max(1, Math.floor(stage.clientWidth * ratio));
    const [width, height] = [crop.width * unit(), crop.height * unit()];
    let fit = clamp(Math.floor(room / width), 1, MAX_ZOOM);
    while (fit > 1 && height * fit > 0.8 * window.innerHeight * ratio) fit--;
    canvas.style.width = `${Math.min(room, width * fit) / ratio}px`;
    canvas.style.height = `${(height * fit) / ratio}px`;
    if (fits) sliders.zoom.value = fit;
    const box = canvas.getBoundingClientRect();
    resize(Math.round(box.width * ratio), Math.round(box.height * ratio));
  }

  function resize(width, height) {
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    if (!crop) return;
    if (fits) {
      scale = Number(sliders.zoom.value) * unit();
      moveTo((width - crop.width * scale) / 2, (height - crop.height * scale) / 2);
    } else {
      moveTo(origin.x, origin.y);
    }
    draw();
    arrange();
  }

  function moveTo(x, y) {
    const along = (wanted, picture, room) =>
      picture <= room ? Math.floor((room - picture) / 2) : clamp(Math.round(wanted), room - picture, 0);
    origin = {
      x: along(x, crop.width * scale, canvas.width),
      y: along(y, crop.height * scale, canvas.height),
    };
  }

  function pan(x, y) {
    fits = false;
    moveTo(x, y);
    update();
  }

  /** What stays in its place while zooming without a mouse: the probe where it is in sight, else the middle. */
  function anchor() {
    const at = { x: canvas.width / 2, y: canvas.height / 2 };
    if (!probe) return at;
    const x = origin.x + (probe.x + 0.5) * scale;
    const y = origin.y + (probe.y + 0.5) * scale;
    return x >= 0 && y >= 0 && x < canvas.width && y < canvas.height ? { x, y } : at;
  }

  function zoomTo(zoom, at = anchor()) {
    fits = false;
    const next = clamp(zoom, 1, MAX_ZOOM);
    const factor = (next * unit()) / scale;
    scale = next * unit();
    sliders.zoom.value = next;
    moveTo(at.x - (at.x - origin.x) * factor, at.y - (at.y - origin.y) * factor);
    update();
  }

  const zoomBy = (steps, at) => zoomTo(Number(sliders.zoom.value) + steps, at);

  function pointerAt(event) {
    const box = canvas.getBoundingClientRect();
    const ratio = pixelRatio();
    // The browser paints the canvas from a whole device pixel on, wherever its box begins.
    return {
      x: event.clientX * ratio - Math.round(box.left * ratio),
      y: event.clientY * ratio - Math.round(box.top * ratio),
    };
  }

  function pixelAt(at) {
    const pixel = { x: Math.floor((at.x - origin.x) / scale), y: Math.floor((at.y - origin.y) / scale) };
    return pixel.x >= 0 && pixel.y >= 0 && pixel.x < crop.width && pixel.y < crop.height ? pixel : null;
  }

  function moveProbe(dx, dy) {
    const middle = { x: canvas.width / 2, y: canvas.height / 2 };
    const from = probe ?? pixelAt(middle);
    if (!probe) [dx, dy] = [0, 0]; // the first press only shows where it is
    probe = { x: clamp(from.x + dx, 0, crop.width - 1), y: clamp(from.y + dy, 0, crop.height - 1) };
    const left = origin.x + probe.x * scale;
    const top = origin.y + probe.y * scale;
    pan(
      origin.x + Math.max(-left, 0) - Math.max(left + scale - canvas.width, 0),
      origin.y + Math.max(-top, 0) - Math.max(top + scale - canvas.height, 0),
    );
  }

  // ---------------------------------------------------------------- text and marks around the picture

  const signed = (value, digits) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;

  function linearText(value) {
    if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value < 0 ? "−inf" : "inf";
    const size = Math.abs(value);
    const text = size === 0 ? "0" : size < 1e-4 ? size.toExponential(2) : size.toPrecision(5);
    return value < 0 ? `−${text}` : text;
  }

  const stopsText = (value) => (value > 0 && Number.isFinite(value) ? signed(Math.log2(value), 2) : "–");

  function element(tag, text, attributes = {}) {
    const made = document.createElement(tag);
    made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }

  function row(label, cells) {
    const made = document.createElement("tr");
    made.append(element("th", label, { scope: "row" }), ...cells.map((cell) => element("td", cell)));
    return made;
  }

  function group(title, kind, rows) {
    const head = document.createElement("tr");
    head.append(element("th", title, { scope: "rowgroup", colspan: "4", title }));
    const body = element("tbody", "", { class: kind });
    body.append(head, ...rows);
    return body;
  }

  function probeGroup(letter, picture) {
    const lin = lightAt(picture, probe);
    const first = 3 * (probe.y * crop.width + probe.x);
    const codes = picture.codes ? [row("code", [...picture.codes.slice(first, first + 3)].map(String))] : [];
    const rows = [...codes, row("linear", lin.map(linearText)), row("stops", lin.map(stopsText))];
    return group(`${letter} ${picture.name}`, `viewer-side-${letter.toLowerCase()}`, rows);
  }

  function probeText() {
    const box = part("probe");
    if (!probe) {
      box.replaceChildren(element("p", "Point at a pixel to read its values."));
      return;
    }
    const table = document.createElement("table");
    const head = document.createElement("thead");
    const letters = document.createElement("tr");
    letters.append(...["", "R", "G", "B"].map((text) => element("th", text, { scope: "col" })));
    head.append(letters);
    const [linA, linB] = [lightAt(a, probe), lightAt(b, probe)];
    const apart = linA.map((light, k) => {
      const both = light > 0 && linB[k] > 0 && Number.isFinite(light) && Number.isFinite(linB[k]);
      return both ? signed(Math.log2(linB[k] / light), 4) : "–";
    });
    table.append(
      element("caption", `Pixel ${crop.x + probe.x}, ${crop.y + probe.y} of the frame`),
      head,
      probeGroup("A", a),
      probeGroup("B", b),
      group("B over A", "viewer-apart", [row("stops", apart)]),
    );
    box.replaceChildren(table, element("p", "Stops are from diffuse white, 1.0.", { class: "viewer-note" }));
  }

  function describe(name, text) {
    part(`${name}-text`).textContent = text;
    sliders[name].setAttribute("aria-valuetext", text);
  }

  function stretchText() {
    const times = `× ${Number(stretch().toPrecision(3))}`;
    if (modeIndex() > 0) return times;
    if (stretch() === 1) return "off";
    return pivot ? `${times} around ${crop.x + pivot.x}, ${crop.y + pivot.y}` : `${times} around the median of A`;
  }

  /** Everything over and beside the canvas that follows from what is shown. */
  function arrange() {
    const ratio = canvas.width / canvas.getBoundingClientRect().width; // device pixels per CSS pixel, as painted
    const wipe = Number(sliders.wipe.value);
    const differs = modeIndex() > 0;
    part("stretch-name").textContent = differs ? "Gain" : "Stretch";
    describe("wipe", differs ? "off" : wipe === 100 ? "A only" : wipe === 0 ? "B only" : `${wipe} %`);
    describe("exposure", `${signed(Number(sliders.exposure.value), 1)} EV`);
    describe("stretch", stretchText());
    describe("zoom", `${sliders.zoom.value} ×`);
    sliders.wipe.disabled = differs;
    part("handle").hidden = differs;
    part("handle").style.left = `${wipe}%`;
    part("tag-a").textContent = differs ? `|A − B|, ${selects.mode.value}` : `A ${a.name}`;
    part("tag-a").hidden = !differs && wipe === 0;
    part("tag-b").textContent = `B ${b.name}`;
    part("tag-b").hidden = differs || wipe === 100;
    const pannable = crop.width * scale > canvas.width || crop.height * scale > canvas.height;
    canvas.style.touchAction = pannable ? "none" : "auto";
    const mark = part("mark");
    mark.hidden = !probe;
    if (probe) {
      mark.style.left = `${(origin.x + probe.x * scale) / ratio}px`;
      mark.style.top = `${(origin.y + probe.y * scale) / ratio}px`;
      mark.style.width = mark.style.height = `${scale / ratio}px`;
    }
    probeText();
  }

  function update() {
    if (frameRequested) return;
    frameRequested = true;
    requestAnimationFrame(() => {
      frameRequested = false;
      if (!crop) return;
      draw();
      arrange();
    });
  }

  // ---------------------------------------------------------------- controls

  function reset(slider) {
    if (slider === sliders.zoom) {
      fits = true;
      layOut();
    } else {
      slider.value = slider.defaultValue;
    }
    update();
  }

  function setWipe(percent) {
    sliders.wipe.value = percent;
    update();
  }

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const KEYS = {
    a: () => setWipe(100),
    b: () => setWipe(0),
    w: () => setWipe(50),
    x: () => setWipe(Number(sliders.wipe.value) > 50 ? 0 : 100),
    d: () => {
      selects.mode.selectedIndex = (modeIndex() + 1) % MODES.length;
      update();
    },
    "+": () => zoomBy(1),
    "=": () => zoomBy(1), // the same key without Shift on many keyboards
    "-": () => zoomBy(-1),
  };

  function onCanvasKey(event) {
    const arrow = ARROWS[event.key];
    if (arrow && event.shiftKey) {
      moveProbe(...arrow);
    } else if (arrow) {
      pan(origin.x - arrow[0] * PAN_SHARE * canvas.width, origin.y - arrow[1] * PAN_SHARE * canvas.height);
    } else if (event.key === "Enter") {
      if (!probe) moveProbe(0, 0);
      choosePivot(probe);
      update();
    } else {
      return false;
    }
    return true;
  }

  function onKey(event) {
    // In a select, letters choose an option.
    if (!crop || event.ctrlKey || event.altKey || event.metaKey || event.target.tagName === "SELECT") return;
    const key = event.key.toLowerCase();
    if (key === "0") {
      reset(Object.values(sliders).includes(event.target) ? event.target : sliders.exposure);
    } else if (Object.hasOwn(KEYS, key)) {
      KEYS[key]();
    } else if (event.target !== canvas || !onCanvasKey(event)) {
      return;
    }
    event.preventDefault();
  }

  let press = null; // of a button on the picture
  let wheel = 0;

  function onPointerDown(event) {
    if (!crop || event.button !== 0) return;
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    press = { x: event.clientX, y: event.clientY, origin, at: pointerAt(event), moved: false };
  }

  function onPointerMove(event) {
    if (!crop) return;
    const at = pointerAt(event);
    if (press) {
      press.moved ||= Math.hypot(event.clientX - press.x, event.clientY - press.y) >= CLICK_PX;
      if (press.moved) pan(press.origin.x + at.x - press.at.x, press.origin.y + at.y - press.at.y);
    }
    probe = pixelAt(at) ?? probe;
    update();
  }

  function onPointerUp(event) {
    if (!press) return;
    const pixel = pixelAt(pointerAt(event));
    if (!press.moved && pixel) {
      probe = pixel;
      choosePivot(pixel);
    }
    press = null;
    update();
  }

  function onWheel(event) {
    if (!crop || !(event.ctrlKey || document.activeElement === canvas)) return; // the page scrolls
    event.preventDefault();
    wheel += event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? WHEEL_STEP : 1);
    if (Math.abs(wheel) < WHEEL_STEP) return;
    zoomBy(-Math.sign(wheel), pointerAt(event));
    wheel = 0;
  }

  function listen() {
    selects.frame.addEventListener("change", () => showCrop(selects.frame.selectedIndex));
    for (const select of [selects.a, selects.b]) {
      select.addEventListener("change", () => {
        choosePictures();
        if (!pivot) choosePivot(null);
        update();
      });
    }
    selects.mode.addEventListener("change", update);
    for (const slider of Object.values(sliders)) {
      slider.addEventListener("input", () => (slider === sliders.zoom ? zoomTo(Number(slider.value)) : update()));
      slider.addEventListener("dblclick", () => reset(slider));
    }
    root.addEventListener("keydown", onKey);
    canvas.addEventListener("pointerdown", onPointerDown);
    canvas.addEventListener("pointermove", onPointerMove);
    canvas.addEventListener("pointerup", onPointerUp);
    canvas.addEventListener("pointercancel", () => (press = null));
    canvas.addEventListener("wheel", onWheel, { passive: false });
    const handle = part("handle");
    handle.addEventListener("pointerdown", (event) => handle.setPointerCapture(event.pointerId));
    handle.addEventListener("pointermove", (event) => {
      if (handle.hasPointerCapture(event.pointerId)) setWipe((pointerAt(event).x / canvas.width) * 100);
    });
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault(); // or it would not come back
      canvas.dataset.ready = "false";
    });
    canvas.addEventListener("webglcontextrestored", () => {
      setUp();
      if (!crop) return;
      upload();
      update();
    });
    document.addEventListener("seqhdr:frame", (event) => {
      const index = payload.crops.findIndex((one) => one.frame === event.detail?.frame);
      if (index >= 0) showCrop(index);
    });
    window.addEventListener("resize", layOut);
    // Later, as laying out changes the height of what is observed.
    new ResizeObserver(() => requestAnimationFrame(layOut)).observe(stage);
    // The one who knows how many device pixels the canvas really covers; not every browser tells.
    const exact = new ResizeObserver(([entry]) => {
      const [box] = entry.devicePixelContentBoxSize;
      resize(box.inlineSize, box.blockSize);
    });
    try {
      exact.observe(canvas, { box: "device-pixel-content-box" });
    } catch {
      exact.disconnect();
    }
  }

  function start() {
    try {
      payload = JSON.parse(data.textContent);
    } catch {
      payload = null;
    }
    if (!Array.isArray(payload?.crops)) return sorry("The pictures in this page are damaged: write the report anew.");
    if (!payload.crops.length) return sorry("This report has no crops to look at.");
    const options = { alpha: true, antialias: false, depth: false, preserveDrawingBuffer: true };
    gl = canvas.getContext("webgl2", options);
    if (!gl || typeof DecompressionStream !== "function" || !setUp()) {
      return sorry("This browser cannot show the pictures (they need WebGL2); everything else here is complete.");
    }
    works.hidden = false;
    selects.frame.replaceChildren(...payload.crops.map((one) => new Option(`${one.frame} ${one.why}`)));
    listen();
    return showCrop(0);
  }

  start();
})();
