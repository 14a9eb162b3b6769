// The live tail of events: asked by htmx every few seconds, not while the page is hidden or paused.
(() => {
  "use strict";

  const MOST = 500;
  const tail = document.getElementById("tail");
  const lines = document.getElementById("tail-lines");
  const state = document.getElementById("tail-state");
  const button = document.getElementById("tail-pause");
  const empty = document.getElementById("tail-empty");
  const paused = () => button.getAttribute("aria-pressed") === "true";
  const say = (shape, words) => {
    if (state.textContent !== words) {
      state.className = `state ${shape}`;
      state.textContent = words;
    }
  };
  const ask = () => window.htmx.trigger(tail, "refresh");

  button.hidden = false;
  button.addEventListener("click", () => {
    const now = !paused();
    button.setAttribute("aria-pressed", String(now));
    button.textContent = now ? "Go on" : "Pause";
    say(now ? "idle" : "good", now ? "Paused" : "Live");
    if (!now) {
      ask();
    }
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !paused()) {
      ask();
    }
  });
  tail.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden || paused()) {
      event.preventDefault();
    }
  });
  tail.addEventListener("htmx:afterSettle", () => {
    if (!paused()) {
      say("good", "Live");
    }
    empty.hidden = lines.children.length > 0;
    while (lines.children.length > MOST) {
      lines.lastElementChild.remove();
    }
  });
  tail.addEventListener("htmx:afterRequest", (event) => {
    const mark = document.getElementById("tail-mark");
    if (event.detail.successful && mark.hasAttribute("data-more")) {
      setTimeout(ask, 50);
    }
  });
  for (const failure of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
    tail.addEventListener(failure, () => say("unknown", "No answer, asked again"));
  }
})();
