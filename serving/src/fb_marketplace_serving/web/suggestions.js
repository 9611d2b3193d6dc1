// Completions of the search text while it is typed.

import { suggest } from "./api.js";
import { element } from "./listings.js";

const DELAY_MS = 80;

let waiting;
let running = new AbortController();

// Offer completions of a text field in its list.
export function offerSuggestions(field, list) {
  field.addEventListener("input", () => {
    clearTimeout(waiting);
    running.abort();
    const text = field.value;
    // The list keeps the last completions: browsers show those that begin with the text.
    if (text.trim()) waiting = setTimeout(() => fill(list, text), DELAY_MS);
    else list.replaceChildren();
  });
}

async function fill(list, text) {
  running = new AbortController();
  const suggestions = await suggest(text, running.signal).catch(() => null);
  if (suggestions) {
    const texts = new Set(suggestions.map((suggestion) => suggestion.text));
    list.replaceChildren(...[...texts].map((value) => element("option", { value })));
  }
}
