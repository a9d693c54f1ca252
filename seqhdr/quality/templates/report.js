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

  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const fold of folded) fold.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const fold of folded) fold.open = false;
  });
})();
