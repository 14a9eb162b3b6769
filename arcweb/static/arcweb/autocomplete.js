/* select2 draws a field of its own and forgets its label: the label's words are given to what it drew. */
"use strict";
window.addEventListener("load", () => {
  for (const select of document.querySelectorAll("select.admin-autocomplete")) {
    const words = select.labels.length ? select.labels[0].textContent.trim() : select.getAttribute("aria-label");
    const drawn = select.nextElementSibling;
    if (!words || !drawn) continue;
    for (const part of drawn.querySelectorAll(".select2-selection, .select2-selection__rendered")) {
      part.removeAttribute("aria-labelledby");
      part.setAttribute("aria-label", words);
    }
  }
});
