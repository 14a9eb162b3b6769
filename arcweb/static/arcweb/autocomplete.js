/* select2 draws a field of its own and forgets its label: the label's words are given to what it drew. */
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const name = (select, drawn) => {
    const words = select.labels.length ? select.labels[0].textContent.trim() : select.getAttribute("aria-label");
    for (const part of words ? drawn.querySelectorAll(".select2-selection, .select2-selection__rendered") : []) {
      part.removeAttribute("aria-labelledby");
      part.setAttribute("aria-label", words);
    }
  };
  for (const select of document.querySelectorAll("select.admin-autocomplete")) {
    // It is drawn later than this runs, by a timer of jQuery's.
    const watch = new MutationObserver(() => {
      const drawn = select.nextElementSibling;
      if (drawn && drawn.classList.contains("select2")) {
        watch.disconnect();
        name(select, drawn);
      }
    });
    watch.observe(select.parentNode, { childList: true });
  }
});
