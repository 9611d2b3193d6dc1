// The meaning of a search text: its correction, and chips of its prices, places and categories.

import { element, money } from "./listings.js";

const find = (id) => document.getElementById(id);

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
    lines.push(element("p", {}, "Showing results for ", element("strong", { textContent: corrected.text }),
      ". Search instead for ", action(corrected.original, () => ignore("spelling"))));
  }
  if (other) lines.push(element("p", {}, "Did you mean ", action(other, () => searchWords(other)), "?"));
  return lines;
}

// Conditions and colours are words like any other, so they have no chip.
function chip({ kind, text, value }, currency, { ignore, narrow }) {
  if (kind === "category") return action(`only ${value}`, () => narrow({ categories: [value] }));
  if (kind !== "price" && kind !== "place") return null;
  if (value === null) {
    return element("span", { textContent: kind === "place" ? "near me: enter a town in the filters" : `${text}: no prices` });
  }
  const label = kind === "price" ? priceLabel(value, currency) : placeLabel(value);
  const node = action(`${label} ✕`, () => ignore(kind));
  node.setAttribute("aria-label", `Remove “${label}”`);
  return node;
}

function priceLabel({ min_price: low, max_price: high }, currency) {
  if (low === null) return `up to ${money(high, currency)}`;
  return high === null ? `from ${money(low, currency)}` : `${money(low, currency)} to ${money(high, currency)}`;
}

const placeLabel = ({ near, radius_km: km }) => `within ${Math.round(km)} km of ${near}`;

function action(label, onClick) {
  const node = element("button", { type: "button", className: "choice", textContent: label });
  node.addEventListener("click", onClick);
  return node;
}
