// The page that waits for PostgreSQL: asks /state/ every two seconds, and comes back when it answers.
"use strict";

(() => {
  const page = document.getElementById("main");
  const counter = page.querySelector("[data-since]");
  const every = 2000;

  const lasting = (seconds) => {
    if (seconds < 120) return `${Math.floor(seconds)} s`;
    if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
    return `${Math.floor(seconds / 3600)} h`;
  };

  const answers = async () => {
    const response = await fetch(page.dataset.state, { cache: "no-store", signal: AbortSignal.timeout(5000) });
    return response.ok && (await response.json()).postgres.up === true;
  };

  const look = async () => {
    if (counter) {
      counter.textContent = lasting(Math.max(0, Date.now() - Date.parse(counter.dataset.since)) / 1000);
    }
    let back = false;
    try {
      back = await answers();
    } catch {
      // The web process itself is away: asked again like the rest.
    }
    if (back && page.dataset.reload === "yes") {
      location.reload();
    } else if (back) {
      document.getElementById("back").hidden = false;
    } else {
      setTimeout(look, every);
    }
  };

  setTimeout(look, every);
})();
