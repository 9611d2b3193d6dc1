// The meaning of a search text: its correction, and chips of its prices, places and categories.

import { button, element, find } from "./dom.js";
import { kilometres, money, phrase, text } from "./text.js";

const SEPARATOR = " / "; // of category paths

// Show the meaning of a response, but not the chosen categories. Actions ignore a kind of meaning, search for other
// words, or narrow the filters.
export function showMeaning(response, chosen, currency, actions) {
  const parts = (response?.interpretation ?? []).filter(({ value }) => !chosen.includes(value));
  const chips = parts.map((part) => chip(part, currency, actions)).filter(Boolean);
  find("meaning").replaceChildren(
    ...(response ? spelling(response, actions) : []),
    ...(chips.length ? [element("ul", { className: "chips" }, ...chips.map((node) => element("li", {}, node)))] : []),
  );
}

function spelling({ corrected, did_you_mean: other }, { ignore, searchWords }) {
  const lines = [];
  if (corrected) {
    const original = action(corrected.original, () => ignore("spelling"));
    const strong = element("strong", { textContent: corrected.text });
    lines.push(element("p", {}, ...phrase("corrected", { text: strong, original })));
  }
  if (other) lines.push(element("p", {}, ...phrase("did_you_mean", { text: action(other, () => searchWords(other)) })));
  return lines;
}

// Conditions and colours are words like any other, so they have no chip.
function chip({ kind, text: words, value }, currency, { ignore, narrow }) {
  if (kind === "category") {
    const node = action(text("only_category", { category: value.split(SEPARATOR).at(-1) }), () => narrow({ categories: [value] }));
    node.title = value;
    return node;
  }
  if (kind !== "price" && kind !== "place") return null;
  if (value === null) {
    return element("span", { textContent: kind === "place" ? text("near_me") : text("no_prices", { words }) });
  }
  const label = kind === "price" ? priceLabel(value, currency) : placeLabel(value);
  const node = action(`${label} ✕`, () => ignore(kind));
  node.setAttribute("aria-label", text("remove_meaning", { label }));
  return node;
}

function priceLabel({ min_price: low, max_price: high }, currency) {
  const amounts = { low: low !== null && money(low, currency), high: high !== null && money(high, currency) };
  return text(low === null ? "price_up_to" : high === null ? "price_at_least" : "price_range", amounts);
}

const placeLabel = ({ near, radius_km: km }) => text("within_of", { distance: kilometres(km), place: near });

const action = (label, onClick) => button(label, onClick, "choice");
