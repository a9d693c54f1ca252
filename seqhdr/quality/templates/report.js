"use strict";
(() => {
  // Frames are plain links; all this adds is that the viewer hears of them, and that nothing stays folded away.
  const tell = (frame) => document.dispatchEvent(new CustomEvent("seqhdr:frame", { detail: { frame } }));

  const unfold = (element) => {
    for (let fold = element && element.closest("details"); fold; fold = fold.parentElement.closest("details")) {
      fold.open = true;
    }
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-frame]");
    if (!link) return;
    const target = document.getElementById(link.getAttribute("href").slice(1));
    unfold(target);
    tell(Number(link.getAttribute("data-frame")));
    if (target && !(event.ctrlKey || event.metaKey || event.shiftKey)) target.scrollIntoView();
  });

  const arrived = /^#frame-(-?\d+)$/.exec(location.hash);
  if (arrived) {
    unfold(document.getElementById(arrived[0].slice(1)));
    tell(Number(arrived[1]));
  }

  // What a plot says of the frame under the mouse, or of the one that the arrow keys have come to.
  const listed = (runs) =>
    runs.split(" ").flatMap((run) => {
      const [first, count] = run.split(":").map(Number);
      return Array.from({ length: count }, (_, i) => first + i);
    });

  const made = (tag, name, text = "") => {
    const element = document.createElement(tag);
    element.className = name;
    element.textContent = text;
    return element;
  };

  const readOut = (plot) => {
    const frames = listed(plot.dataset.frames);
    const unit = plot.dataset.unit && `\u202f${plot.dataset.unit}`;
    const curves = [...plot.querySelectorAll("[data-values]")].reverse(); // the first is drawn last
    const values = curves.map((curve) => curve.dataset.values.split("|"));
    const box = made("dl", "readout");
    const cursor = document.createElementNS(plot.namespaceURI, "line");
    let index = null;

    const show = (wanted) => {
      index = Math.min(Math.max(wanted, 0), frames.length - 1);
      const share = (frames[index] - frames[0]) / (frames.at(-1) - frames[0]);
      const rows = curves.flatMap((curve, i) => [
        made("dt", `key ${[...curve.classList].at(-1)}`, curve.dataset.label),
        made("dd", "", values[i][index] ? values[i][index] + unit : "–"),
      ]);
      box.replaceChildren(made("dt", "frame", `Frame ${frames[index]}`), ...rows);
      const [inner, outer] = [plot.getBoundingClientRect(), plot.parentElement.getBoundingClientRect()];
      const at = inner.left - outer.left + share * inner.width;
      box.style.top = `${inner.top - outer.top}px`;
      box.style.left = share > 0.5 ? "auto" : `${at + 12}px`;
      box.style.right = share > 0.5 ? `${outer.width - at + 12}px` : "auto";
      for (const name of ["x1", "x2"]) cursor.setAttribute(name, `${100 * share}%`);
      box.hidden = false;
      cursor.style.display = "";
    };
    const hide = () => {
      index = null;
      box.hidden = true;
      cursor.style.display = "none";
    };
    const nearest = (frame) =>
      frames.reduce((best, one, i) => (Math.abs(one - frame) < Math.abs(frames[best] - frame) ? i : best), 0);
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -frames.length, End: frames.length };

    cursor.setAttribute("class", "cursor");
    cursor.setAttribute("y1", "0");
    cursor.setAttribute("y2", plot.getAttribute("height"));
    plot.prepend(cursor);
    plot.after(box);
    box.setAttribute("aria-live", "polite");
    hide();
    // The browser's own tips would cover it.
    const [title, description] = ["title", "desc"].map((tag) => plot.querySelector(`:scope > ${tag}`));
    plot.setAttribute("aria-label", `${title.textContent}. ${description.textContent} Arrow keys read it out.`);
    plot.removeAttribute("aria-labelledby");
    for (const tip of [title, ...plot.querySelectorAll("path > title")]) tip.remove();
    plot.tabIndex = 0;
    plot.addEventListener("pointermove", (event) => {
      const inner = plot.getBoundingClientRect();
      show(nearest(frames[0] + ((event.clientX - inner.left) / inner.width) * (frames.at(-1) - frames[0])));
    });
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("focusin", (event) => {
      const mark = event.target.closest("a[data-frame]");
      if (mark) show(nearest(Number(mark.dataset.frame)));
    });
    plot.addEventListener("focusout", hide);
    plot.addEventListener("keydown", (event) => {
      if (event.key === "Escape") hide();
      if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
      const outside = { ArrowLeft: frames.length, ArrowRight: -1, Home: 0, End: 0 }[event.key];
      show((index ?? outside) + steps[event.key]);
      event.preventDefault();
    });
  };
  for (const plot of document.querySelectorAll("svg.plot[data-frames]")) readOut(plot);

  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const fold of folded) fold.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const fold of folded) fold.open = false;
  });
})();
