/* The command palette: Ctrl-K opens it, arrows choose, Enter goes. Without it the field is a plain form. */
"use strict";
(() => {
  const field = document.getElementById("find");
  const list = document.getElementById("found");
  if (!field || !list) return;
  const options = () => [...list.querySelectorAll("a[role=option]")];
  let chosen = -1;
  let answered = null; // the text that the list is for
  let going = false; // Enter was pressed before the list was for what is typed

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
    answered = null;
    choose(-1);
  };
  const go = (option) => (option ? window.location.assign(option.href) : field.form.submit());

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
      going = false;
      close();
      field.blur();
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && all.length) {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      choose((chosen + step + all.length + (chosen < 0 && step < 0 ? 1 : 0)) % all.length);
    } else if (event.key === "Enter" && window.htmx && !going) {
      // What stands there may be the answer to what was typed before. A second Enter is the form's own.
      event.preventDefault();
      if (answered === field.value) go(all[chosen] || all[0]);
      else going = true;
    }
  });
  field.addEventListener("input", () => { going = false; });
  for (const failure of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
    field.addEventListener(failure, () => going && go());
  }
  list.addEventListener("htmx:afterSwap", (event) => {
    if (document.activeElement !== field) return close();
    answered = event.detail.requestConfig.parameters.q;
    if (going && answered === field.value) return go(options()[0]);
    field.setAttribute("aria-expanded", "true");
    choose(field.value.trim() && options().length ? 0 : -1);
  });
  field.form.addEventListener("focusout", (event) => {
    if (!field.form.contains(event.relatedTarget)) window.setTimeout(() => document.activeElement !== field && close(), 150);
  });
})();
