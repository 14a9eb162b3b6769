// Search without this script works the same; with it a mode searches at once and the address stays short.
"use strict";
{
  const form = document.getElementById("search-form");
  form.addEventListener("change", (event) => {
    if (event.target.name === "mode" && form.elements.q.value.trim()) form.requestSubmit();
  });
  form.addEventListener("submit", () => {
    for (const field of form.elements) if (field.name && field.name !== "q" && !field.value) field.disabled = true;
  });
  // Back from the results: the browser may bring the page as it was left.
  window.addEventListener("pageshow", () => {
    for (const field of form.elements) field.disabled = false;
  });
}
