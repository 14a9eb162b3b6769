// The frame of every page: which groups of the navigation are folded is kept in a cookie, so that the server
// draws them so; and the clock goes on.
"use strict";
(() => {
  const COOKIE = "arc_folds";
  const YEAR = 365 * 86400;

  const read = () => {
    const found = document.cookie.split("; ").find((one) => one.startsWith(`${COOKIE}=`));
    const words = found ? found.slice(COOKIE.length + 1).split(".") : [];
    return new Map(words.filter((word) => word.includes("-")).map((word) => word.split("-")));
  };
  document.addEventListener("click", (event) => {
    const summary = event.target instanceof Element ? event.target.closest("[data-fold] > summary") : null;
    if (!summary) return;
    const group = summary.parentElement;
    const folds = read();
    folds.set(group.dataset.fold, group.open ? "shut" : "open"); // as it will be
    const words = [...folds].map((pair) => pair.join("-")).join(".");
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `${COOKIE}=${words}; Path=/; Max-Age=${YEAR}; SameSite=Lax${secure}`;
  });

  // The line of this page is seen, however far down it stands.
  const side = document.getElementById("nav");
  const here = side?.querySelector("a[aria-current]");
  if (here && here.offsetTop + 2 * here.offsetHeight > side.clientHeight) {
    side.scrollTop = Math.max(0, here.offsetTop - side.clientHeight / 2);
  }

  // The server's time, and what has passed here since: clocks differ.
  const clock = document.querySelector("[data-clock]");
  if (clock) {
    const ahead = new Date(clock.dateTime).getTime() - Date.now();
    const tick = () => {
      const now = new Date(Date.now() + ahead);
      clock.dateTime = now.toISOString();
      clock.textContent = `${clock.dateTime.slice(11, 16)} UTC`;
      setTimeout(tick, 60_000 - (now.getTime() % 60_000) + 50);
    };
    tick();
  }
})();
