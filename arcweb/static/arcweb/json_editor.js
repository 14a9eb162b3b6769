/* Judges every textarea[data-json] as one types: a JSON object, or what is wrong with line and column. */
"use strict";
(() => {
  const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
  const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
  const WORD = /true|false|null/y;
  const SPACE = /[ \t\r\n]*/y;

  /* Where and why `text` is no JSON, or null. JSON.parse names no place in every browser. */
  function fault(text) {
    let at = 0;
    const take = (pattern) => {
      pattern.lastIndex = at;
      const found = pattern.exec(text);
      if (found) at += found[0].length;
      return found;
    };
    const stop = (why) => { throw { at, why }; };
    const wanted = (what) => stop(at < text.length ? `${what} is expected` : `the text ends where ${what} is expected`);
    function value() {
      take(SPACE);
      const sign = text[at];
      if (sign === "{") return several("}", () => {
        take(SPACE);
        if (text[at] !== '"') wanted("a name in double quotes");
        if (!take(STRING)) stop("this name has no end, or a character that must be escaped");
        take(SPACE);
        if (text[at] !== ":") wanted("a colon");
        at += 1;
        value();
      });
      if (sign === "[") return several("]", value);
      if (sign === '"') return take(STRING) || stop("this text has no end, or a character that must be escaped");
      return take(WORD) || take(NUMBER) || wanted("a value");
    }
    function several(end, one) {
      at += 1;
      take(SPACE);
      if (text[at] === end) { at += 1; return; }
      for (;;) {
        one();
        take(SPACE);
        if (text[at] === end) { at += 1; return; }
        if (text[at] !== ",") wanted(`a comma or ${end}`);
        at += 1;
        take(SPACE);
        if (text[at] === end) stop("no comma may stand before the end");
      }
    }
    try {
      take(SPACE);
      if (text[at] !== "{") wanted("an object, which begins with {,");
      value();
      take(SPACE);
      if (at < text.length) stop("nothing may follow the object");
      return null;
    } catch (error) {
      if (error instanceof RangeError) return { at: 0, why: "it is nested too deeply" };
      if (error.why === undefined) throw error;
      return error;
    }
  }

  function judge(area, verdict, tidy) {
    const text = area.value;
    const found = text.trim() === "" ? null : fault(text);
    area.setAttribute("aria-invalid", found ? "true" : "false");
    tidy.disabled = Boolean(found) || text.trim() === "";
    verdict.className = found ? "state bad" : "state idle";
    if (!found) {
      verdict.textContent = text.trim() === "" ? "Empty" : "A JSON object";
      return;
    }
    const before = text.slice(0, found.at).split("\n");
    verdict.textContent = `Line ${before.length}, column ${before.at(-1).length + 1}: ${found.why}.`;
  }

  function equip(area) {
    const bar = document.createElement("div");
    bar.className = "json-bar";
    const verdict = document.createElement("output");
    verdict.setAttribute("aria-live", "polite");
    verdict.htmlFor = area.id;
    const tidy = document.createElement("button");
    tidy.type = "button";
    tidy.className = "btn";
    tidy.textContent = "Set out";
    tidy.title = "Indent by two spaces; numbers and order stay as they are";
    tidy.addEventListener("click", () => {
      area.value = layOut(area.value);
      judge(area, verdict, tidy);
      area.focus();
    });
    bar.append(verdict, tidy);
    area.after(bar);
    let timer = 0;
    area.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => judge(area, verdict, tidy), 150);
    });
    judge(area, verdict, tidy);
  }

  /* Indents without parsing numbers: 12345678901234567890 and 1.0 stay what they are. */
  function layOut(text) {
    let out = "";
    let depth = 0;
    const line = () => "\n" + "  ".repeat(depth);
    for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g)) {
      if (token === "{" || token === "[") { depth += 1; out += token + line(); }
      else if (token === "}" || token === "]") { depth -= 1; out = /[{[]\s*$/.test(out) ? out.trimEnd() + token : out + line() + token; }
      else if (token === ",") out += "," + line();
      else if (token === ":") out += ": ";
      else out += token;
    }
    return out;
  }

  document.querySelectorAll("textarea[data-json]").forEach(equip);
})();
