// The form works without this script; with it files can be dropped, and are judged before they are sent.
"use strict";
{
  const form = document.getElementById("ingest-form");
  const drop = document.getElementById("drop");
  const list = document.getElementById("chosen");
  const input = form.elements.documents;
  const limit = Number(drop.dataset.limitMb) * 1024 * 1024;
  const suffixes = drop.dataset.suffixes.split(" ");
  const most = Number(drop.dataset.most);

  const size = (bytes) => (bytes < 1024 ? `${bytes} B` : bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} kB` : `${(bytes / 1024 / 1024).toFixed(1)} MB`);

  function trouble(file) {
    const name = file.name.toLowerCase();
    if (!suffixes.some((suffix) => name.endsWith(suffix))) return `not a text file that is taken (${suffixes.join(", ")})`;
    if (file.size > limit) return `larger than ${drop.dataset.limitMb} MB`;
    if (file.size === 0) return "empty";
    return "";
  }

  function line(...parts) {
    const item = document.createElement("li");
    for (const [text, kind] of parts) {
      const part = document.createElement("span");
      part.textContent = text;
      if (kind) part.className = kind;
      item.append(part);
    }
    return item;
  }

  function show() {
    const files = [...input.files];
    list.replaceChildren(
      ...files.slice(0, most).map((file) => {
        const wrong = trouble(file);
        return line([file.name, ""], [size(file.size), "size"], ...(wrong ? [[`will be refused: ${wrong}`, "wrong"]] : []));
      }),
      ...(files.length > most ? [line([`${files.length} files are chosen; ${most} at once are the most.`, "wrong"])] : []),
    );
  }

  input.addEventListener("change", show);
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", (event) => {
    if (!drop.contains(event.relatedTarget)) drop.classList.remove("over");
  });
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const all = new DataTransfer();
    for (const file of [...input.files, ...event.dataTransfer.files]) all.items.add(file);
    input.files = all.files;
    show();
  });

  // A second click must not send everything again; stored it would be once all the same.
  const button = form.querySelector("button[type=submit]");
  form.addEventListener("submit", (event) => {
    if (button.getAttribute("aria-disabled") === "true") event.preventDefault();
    button.setAttribute("aria-disabled", "true");
    button.textContent = "Sending…";
  });
  window.addEventListener("pageshow", () => {
    button.removeAttribute("aria-disabled");
    button.textContent = "Ingest";
    show();
  });
}
