// Suggestions below a text field, by the combobox pattern of ARIA 1.2: focus stays in the field.

import { element, find } from "./dom.js";
import { text } from "./text.js";

const DELAY_MS = 80;

// Offer suggestions for a field in a list. `complete` fetches them, `choose` is called with the chosen text.
// Returns `close`, and `first`: the best completion of the current text, or null.
export function combobox(field, list, { complete, choose }) {
  let waiting;
  let running = new AbortController();
  let active = -1;
  let texts = [];

  const options = () => [...list.children];

  function close() {
    clearTimeout(waiting);
    running.abort();
    list.hidden = true;
    field.setAttribute("aria-expanded", "false");
    activate(-1);
  }

  function activate(position) {
    active = position;
    options().forEach((option, at) => option.setAttribute("aria-selected", String(at === active)));
    if (active < 0) field.removeAttribute("aria-activedescendant");
    else {
      field.setAttribute("aria-activedescendant", options()[active].id);
      options()[active].scrollIntoView({ block: "nearest" });
    }
  }

  function show(suggestions) {
    const unique = new Map(suggestions.map((suggestion) => [suggestion.text, suggestion]));
    unique.delete(field.value.trim());
    texts = [...unique.keys()];
    list.replaceChildren(...[...unique.values()].map(optionOf));
    const open = texts.length > 0 && document.activeElement === field;
    list.hidden = !open;
    field.setAttribute("aria-expanded", String(open));
    activate(-1);
  }

  function optionOf({ text: completion, kind }, at) {
    const typed = completion.toLowerCase().startsWith(field.value.toLowerCase()) ? field.value.length : 0;
    const label = element("span", {}, completion.slice(0, typed), element("b", {}, completion.slice(typed)));
    const option = element("li", { id: `suggestion-${at}` }, label);
    if (kind !== "word") option.append(" ", element("span", { className: "small" }, text(`suggestion_${kind}`)));
    option.setAttribute("role", "option");
    option.addEventListener("pointerdown", (event) => event.preventDefault()); // keeps the focus in the field
    option.addEventListener("click", () => {
      close();
      choose(completion);
    });
    return option;
  }

  async function fill() {
    running.abort();
    running = new AbortController();
    const { signal } = running;
    const typed = field.value;
    const suggestions = typed.trim() ? await complete(typed, signal).catch(() => null) : [];
    if (suggestions && !signal.aborted && typed === field.value) show(suggestions);
  }

  field.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(fill, DELAY_MS);
  });
  field.addEventListener("blur", close);
  field.addEventListener("keydown", (event) => {
    const open = !list.hidden;
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!open) fill();
      else if (event.key === "ArrowDown") activate(active + 1 < texts.length ? active + 1 : -1);
      else activate(active < 0 ? texts.length - 1 : active - 1);
    } else if (event.key === "Enter" && open && active >= 0) {
      event.preventDefault();
      const chosen = texts[active];
      close();
      choose(chosen);
    } else if (event.key === "Enter") {
      close();
    } else if (event.key === "Escape" && open) {
      event.preventDefault(); // the next one empties the field
      close();
    }
  });

  const isLonger = (completion, typed) =>
    completion.length > typed.length && completion.toLowerCase().startsWith(typed.toLowerCase());
  const first = (typed) => texts.find((completion) => isLonger(completion, typed)) ?? null;
  return { close, first };
}

// Make a key of the page focus a field, unless another one is being typed into.
export function focusBySlash(field) {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, select, textarea, dialog, [contenteditable]");
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing) return;
    event.preventDefault();
    field.focus();
    field.select();
    find("search").scrollIntoView({ block: "nearest" });
  });
}
