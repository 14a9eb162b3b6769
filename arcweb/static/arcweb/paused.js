// The page that waits while a backup is put in place: asks for its own address again and shows the steps,
// and loads it when it is no longer refused. Nothing moves, and the focus stays where it is.
"use strict";

(() => {
  const steps = document.getElementById("steps");
  const every = 1000 * document.getElementById("main").dataset.every;

  const look = async () => {
    try {
      const response = await fetch(location.href, {
        cache: "no-store",
        redirect: "manual",
        signal: AbortSignal.timeout(10000),
      });
      if (response.status !== 503) {
        location.reload();
        return;
      }
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("steps");
      if (steps && fresh) steps.replaceChildren(...fresh.childNodes);
    } catch {
      // The web process itself is away: asked again.
    }
    setTimeout(look, every);
  };

  setTimeout(look, every);
})();
