// What the viewer says about a pixel. Names come from files: they reach the page as text only.

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

function probeGroup(letter, picture, first) {
  const lin = [...picture.light.slice(first, first + 3)];
  const codes = picture.codes ? [row("code", [...picture.codes.slice(first, first + 3)].map(String))] : [];
  const rows = [...codes, row("linear", lin.map(linearText)), row("stops", lin.map(stopsText))];
  return group(`${letter} ${picture.name}`, `viewer-side-${letter.toLowerCase()}`, rows);
}

/** Codes and light of both pictures at a pixel of a crop, and how far B is from A; of one picture only its own. */
function probeText(crop, probe, a, b) {
  if (!probe) return [element("p", "Point at a pixel to read its values.")];
  const table = document.createElement("table");
  const head = document.createElement("thead");
  const letters = document.createElement("tr");
  letters.append(...["", "R", "G", "B"].map((text) => element("th", text, { scope: "col" })));
  head.append(letters);
  const first = 3 * (probe.y * crop.width + probe.x);
  table.append(
    element("caption", `Pixel ${crop.x + probe.x}, ${crop.y + probe.y} of the frame`),
    head,
    probeGroup("A", a, first),
  );
  if (a !== b) {
    const apart = [0, 1, 2].map((k) => {
      const [linA, linB] = [a.light[first + k], b.light[first + k]];
      const both = linA > 0 && linB > 0 && Number.isFinite(linA) && Number.isFinite(linB);
      return both ? signed(Math.log2(linB / linA), 4) : "–";
    });
    table.append(probeGroup("B", b, first), group("B over A", "viewer-apart", [row("stops", apart)]));
  }
  return [table, element("p", "Stops are from diffuse white, 1.0.", { class: "viewer-note" })];
}
