// A page that refreshes itself can be paused: to read a row, or to mark its text.
(() => {
  "use strict";

  const buttonOf = (id) => document.querySelector(`[data-pause="${CSS.escape(id)}"]`);
  const paused = (button) => button !== null && button.getAttribute("aria-pressed") === "true";

  document.querySelectorAll("[data-pause]").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", () => {
      const now = !paused(button);
      button.setAttribute("aria-pressed", String(now));
      button.textContent = now ? "Go on" : "Pause";
      const target = document.getElementById(button.dataset.pause);
      target.classList.toggle("paused", now);
      if (!now) {
        window.htmx.trigger(target, "refresh");
      }
    });
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    const target = event.detail.elt;
    if (target instanceof Element && target.id && paused(buttonOf(target.id))) {
      event.preventDefault();
    }
  });
})();
