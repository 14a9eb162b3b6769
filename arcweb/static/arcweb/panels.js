// Panels refresh themselves by htmx. This keeps them honest: none is asked while the page is hidden, and one
// that gets no answer keeps its old values and says how old they are.
(() => {
  "use strict";

  const panelOf = (target) => (target instanceof Element ? target.closest("[data-panel]") : null);
  const clock = (date) => date.toISOString().slice(11, 19);

  // What the panel showed last was taken then, by the server's clock; null while it has shown nothing.
  const taken = (panel) => {
    const mark = panel.querySelector("[data-taken]");
    return mark ? new Date(mark.dataset.taken) : null;
  };

  const unanswered = (panel) => {
    const when = taken(panel);
    const words = when ? `as of ${clock(when)} UTC, no answer since` : "no answer yet; asked again soon";
    let mark = panel.querySelector("[data-taken]");
    if (!mark) {
      mark = panel.querySelector(".state.idle") || panel;
    }
    mark.hidden = false;
    if (mark.textContent !== words) {
      mark.textContent = words;
    }
    panel.classList.add("unanswered");
    // What was green may be so no more: the word says that nobody knows.
    const state = panel.querySelector(".state.good");
    if (state) {
      state.className = "state unknown";
      state.textContent = "No answer";
    }
  };

  document.addEventListener("htmx:beforeRequest", (event) => {
    const panel = panelOf(event.detail.elt);
    if (panel && panel === event.detail.elt && document.hidden) {
      event.preventDefault();
    }
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) {
      document.querySelectorAll("[data-panel]").forEach((panel) => window.htmx.trigger(panel, "refresh"));
    }
  });

  for (const failure of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(failure, (event) => {
      const panel = panelOf(event.detail.elt);
      if (panel) {
        unanswered(panel);
      }
    });
  }
  document.addEventListener("htmx:beforeSwap", (event) => {
    const panel = panelOf(event.detail.elt);
    if (panel && event.detail.xhr.status < 400) {
      panel.classList.remove("unanswered");
    }
  });

  // "checked 4 s ago" grows older before people's eyes. Only time that passed here is added: clocks differ.
  const seen = new WeakMap();
  const age = (seconds) =>
    seconds < 1.5 ? "just now" : seconds < 120 ? `${Math.floor(seconds)} s ago` : `${Math.floor(seconds / 60)} min ago`;
  setInterval(() => {
    document.querySelectorAll("[data-age]").forEach((mark) => {
      if (!seen.has(mark)) {
        seen.set(mark, performance.now());
      }
      if (mark.dataset.age && !document.hidden && !mark.closest(".unanswered")) {
        mark.textContent = `checked ${age(Number(mark.dataset.age) + (performance.now() - seen.get(mark)) / 1000)}`;
      }
    });
  }, 1000);
})();
