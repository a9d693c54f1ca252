// The picture viewer of a report: shows the crops of "viewer-data", and listens to mouse, keys and sliders. It needs
// the other viewer_*.js before it, in one scope; viewer_scope.js puts them together.
(() => {
  const root = document.querySelector("[data-viewer]");
  const data = document.getElementById("viewer-data");
  if (!root || !data) return;
  const part = (name) => root.querySelector(`[data-${name}]`);
  const canvas = part("canvas");
  const stage = part("stage");
  const works = part("works");
  const sliders = { wipe: part("wipe"), exposure: part("exposure"), stretch: part("stretch"), zoom: part("zoom") };
  const selects = { frame: part("frame"), a: part("a"), b: part("b"), mode: part("mode") };

  const CLICK_PX = 4; // a press that moves less is a click
  const WHEEL_STEP = 40; // a notch of a mouse wheel is 100 or more, a trackpad sends many small ones
  const PAN_SHARE = 0.125; // of the canvas, per arrow key
  // ---------------------------------------------------------------- what is shown

  let payload = null;
  let painter = null;
  let crop = null; // of the payload
  const place = new Place(canvas);
  let pictures = []; // its pictures, unpacked
  let a = null;
  let b = null;
  let fits = true; // until the user zooms or pans
  let probe = null; // a pixel of the crop
  let pivot = null; // a pixel of the crop; null: the median
  let pivotLight = [0.18, 0.18, 0.18];
  let turn = 0; // of showCrop, so that a slow one does not come last
  let frameRequested = false;

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
      unpacked = await Promise.all(wanted.pictures.map((packed) => unpackPicture(packed, wanted, payload.curves)));
    } catch {
      if (mine === turn) sorry("The pictures in this page are damaged: write the report anew.");
      return;
    }
    if (mine !== turn) return;
    const names = unpacked.map((picture) => picture.name);
    const kept = (select, preferred) => [select.value, preferred].find((name) => names.includes(name));
    const nameA = kept(selects.a, "source") ?? names[0];
    const nameB = kept(selects.b, "result") ?? names.find((name) => name !== nameA) ?? nameA;
    crop = place.crop = wanted;
    pictures = unpacked;
    selects.frame.selectedIndex = index;
    for (const [select, chosen] of [[selects.a, nameA], [selects.b, nameB]]) {
      select.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
    }
    root.classList.toggle("viewer-alone", names.length === 1);
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
    painter.upload(a, b, crop);
  }

  function draw() {
    const drawn = painter.draw({
      origin: place.origin,
      scale: place.scale,
      wipe: Number(sliders.wipe.value) / 100,
      mode: modeIndex(),
      lightGain: lightGain(),
      stretch: stretch(),
      pivot: pivotLight.map(displayOf),
    });
    if (drawn) canvas.dataset.ready = "true";
  }

  // ---------------------------------------------------------------- size, zoom, pan

  function layOut() {
    if (!crop) return;
    const ratio = pixelRatio();
    const room = Math.max(1, Math.floor(stage.clientWidth * ratio));
    const [width, height] = [crop.width * unit(), crop.height * unit()];
    const fit = place.fitting(room, 0.8 * window.innerHeight * ratio);
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
      place.centre(Number(sliders.zoom.value));
    } else {
      place.moveBy(0, 0);
    }
    draw();
    arrange();
  }

  /** What a user does with the place of the picture; from then on it stays as it is. */
  function rearrange(change) {
    fits = false;
    change();
    update();
  }

  function zoomTo(zoom, at = place.anchor(probe)) {
    sliders.zoom.value = clamp(zoom, 1, MAX_ZOOM);
    rearrange(() => place.zoomTo(Number(sliders.zoom.value), at));
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

  function moveProbe(dx, dy) {
    const middle = { x: canvas.width / 2, y: canvas.height / 2 };
    const from = probe ?? place.pixelAt(middle);
    if (!probe) [dx, dy] = [0, 0]; // the first press only shows where it is
    probe = { x: clamp(from.x + dx, 0, crop.width - 1), y: clamp(from.y + dy, 0, crop.height - 1) };
    rearrange(() => place.reveal(probe));
  }

  // ---------------------------------------------------------------- text and marks around the picture

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
    part("handle").hidden = differs || a === b;
    part("handle").style.left = `${wipe}%`;
    part("tag-a").textContent = differs ? `|A − B|, ${selects.mode.value}` : a === b ? a.name : `A ${a.name}`;
    part("tag-a").hidden = !differs && wipe === 0 && a !== b;
    part("tag-b").textContent = `B ${b.name}`;
    part("tag-b").hidden = differs || wipe === 100 || a === b;
    canvas.style.touchAction = place.overflows ? "none" : "auto";
    const mark = part("mark");
    mark.hidden = !probe;
    if (probe) {
      mark.style.left = `${(place.origin.x + probe.x * place.scale) / ratio}px`;
      mark.style.top = `${(place.origin.y + probe.y * place.scale) / ratio}px`;
      mark.style.width = mark.style.height = `${place.scale / ratio}px`;
    }
    part("probe").replaceChildren(...probeText(crop, probe, a, b));
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
      const [dx, dy] = [-arrow[0] * PAN_SHARE * canvas.width, -arrow[1] * PAN_SHARE * canvas.height];
      rearrange(() => place.moveBy(dx, dy));
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
    press = { x: event.clientX, y: event.clientY, origin: place.origin, at: pointerAt(event), moved: false };
  }

  function onPointerMove(event) {
    if (!crop) return;
    const at = pointerAt(event);
    if (press) {
      press.moved ||= Math.hypot(event.clientX - press.x, event.clientY - press.y) >= CLICK_PX;
      const [x, y] = [press.origin.x + at.x - press.at.x, press.origin.y + at.y - press.at.y];
      if (press.moved) rearrange(() => place.moveTo(x, y));
    }
    probe = place.pixelAt(at) ?? probe;
    update();
  }

  function onPointerUp(event) {
    if (!press) return;
    const pixel = place.pixelAt(pointerAt(event));
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
      painter.setUp();
      if (!crop) return;
      painter.upload(a, b, crop);
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
    painter = makePainter(canvas);
    if (!painter || typeof DecompressionStream !== "function" || !painter.setUp()) {
      return sorry("This browser cannot show the pictures (they need WebGL2); everything else here is complete.");
    }
    works.hidden = false;
    selects.frame.replaceChildren(...payload.crops.map((one) => new Option(`${one.frame} ${one.why}`)));
    listen();
    return showCrop(0);
  }

  start();
})();
