/* The command palette: Ctrl-K opens it, arrows choose, Enter goes. Without it the field is a plain form. */
"use strict";
(() => {
  const field = document.getElementById("find");
  const list = document.getElementById("found");
  if (!field || !list) return;
  const options = () => [...list.querySelectorAll("a[role=option]")];
  let chosen = -1;

  const choose = (index) => {
    const all = options();
    all.forEach((option, at) => option.setAttribute("aria-selected", String(at === index)));
    chosen = index;
    if (all[index]) {
      field.setAttribute("aria-activedescendant", all[index].id);
      all[index].scrollIntoView({ block: "nearest" });
    } else {
      field.removeAttribute("aria-activedescendant");
    }
  };
  const close = () => {
    list.replaceChildren();
    field.setAttribute("aria-expanded", "false");
    choose(-1);
  };

  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      field.focus();
      field.select();
    }
  });
  field.addEventListener("keydown", (event) => {
    const all = options();
    if (event.key === "Escape") {
      field.value = "";
      close();
      field.blur();
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && all.length) {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      choose((chosen + step + all.length + (chosen < 0 && step < 0 ? 1 : 0)) % all.length);
    } else if (event.key === "Enter" && all.length) {
      event.preventDefault();
      window.location.assign((all[chosen] || all[0]).href);
    }
  });
  list.addEventListener("htmx:afterSwap", () => {
    if (document.activeElement !== field) return close();
    field.setAttribute("aria-expanded", "true");
    choose(field.value.trim() && options().length ? 0 : -1);
  });
  field.form.addEventListener("focusout", (event) => {
    if (!field.form.contains(event.relatedTarget)) window.setTimeout(() => document.activeElement !== field && close(), 150);
  });
})();
