// Listings as cards, and predicted categories as bars.

import { element } from "./dom.js";
import { photoTile } from "./photos.js";
import { age, kilometres, money, percent, text } from "./text.js";

const IMPLAUSIBLE = ["joke", "absurd"];
const SEPARATOR = " / "; // of category paths

export function price({ price: amount, currency }) {
  if (amount === null || amount === undefined) return text("no_price");
  return amount === 0 ? text("free") : money(amount, currency);
}

// Return the badge of an unusual or implausible price, or null.
function priceBadge({ price_flag: flag, notes = [] }) {
  const key = IMPLAUSIBLE.includes(flag) ? "implausible_price"
    : notes.some(({ kind }) => kind === "unusual_price") ? "unusual_price" : null;
  return key && element("span", { className: "flag", textContent: text(key) });
}

// Return town and distance, category and age, as far as they are known.
function facts({ town, county, distance_km: km, category_path: path, created_at: created }) {
  const place = town ?? county ?? text("unknown_place");
  const known = km !== null && km !== undefined;
  const away = km < 1 ? text("under_one_km") : known && text("km_away", { distance: kilometres(km) });
  const where = known ? `${place} · ${away}` : place;
  const what = path?.split(SEPARATOR).at(-1);
  const when = age(created);
  return [where, [when, what].filter(Boolean).join(" · ")].filter(Boolean);
}

// Make the card of a listing. It links to the page of the listing.
export function card(hit, tile = photoTile(hit.image_id)) {
  const [where, ...rest] = facts(hit);
  const parts = [
    tile,
    element("span", { className: "price", textContent: price(hit) }),
    element("span", { className: "title", textContent: hit.title }),
    element("span", { className: "town", textContent: where }),
    ...rest.map((textContent) => element("span", { className: "facts", textContent })),
  ];
  const badge = priceBadge(hit);
  if (badge) parts.splice(2, 0, badge);
  const href = `item/${encodeURIComponent(hit.product_id)}`;
  const item = element("li", {}, element("a", { href, className: "listing" }, ...parts));
  if (hit.image_id) item.dataset.image = hit.image_id;
  item.dataset.product = hit.product_id;
  return item;
}

// Let the links of cards carry the search in the address, with the place of the hit, once they are about to be used:
// the page of a listing explains the hit, and leads back to the search.
export function carrySearch(list) {
  const update = ({ target }) => {
    const link = target.closest("a.listing");
    const at = [...list.querySelectorAll(":scope > [data-product]")].indexOf(link?.parentElement);
    if (at < 0) return;
    const query = new URLSearchParams(location.search);
    if (query.size || location.hash) query.set("at", at);
    link.href = `${link.href.split(/[?#]/)[0]}${query.size ? `?${query}` : ""}${location.hash}`;
  };
  for (const type of ["pointerover", "focusin"]) list.addEventListener(type, update);
}

// Make the card of a similar photo, with its similarity.
export function photoCard(hit, tile) {
  const item = card(hit, tile);
  const similarity = text("similarity", { score: hit.score.toFixed(2) });
  item.querySelector("a").append(element("span", { className: "score", textContent: similarity }));
  return item;
}

const cards = new WeakMap(); // the hit of each card, as JSON

// Show these hits. Cards of unchanged hits stay, with their open panels; changed ones keep their photo.
export function showCards(list, hits, make) {
  const existing = new Map();
  const tiles = new Map();
  for (const item of list.children) {
    if (cards.has(item)) existing.set(cards.get(item), item);
    if (item.dataset.image) tiles.set(item.dataset.image, item.querySelector(".tile"));
  }
  const nodes = hits.flatMap((hit) => {
    const json = JSON.stringify(hit);
    const item = existing.get(json) ?? make(hit, tiles.get(hit.image_id));
    cards.set(item, json);
    const open = item.nextElementSibling?.matches(".panel") ? [item.nextElementSibling] : [];
    return [item, ...open];
  });
  arrange(list, nodes);
}

// Make nodes the children of a list. Those in their place are not touched: they keep focus and scroll position.
function arrange(list, nodes) {
  let next = list.firstChild;
  for (const node of nodes) {
    if (node === next) next = next.nextSibling;
    else list.insertBefore(node, next);
  }
  while (next) {
    const rest = next.nextSibling;
    next.remove();
    next = rest;
  }
}

export function placeholders(count) {
  return Array.from({ length: count }, () => {
    const item = element("li", { className: "blank" }, element("span", { className: "tile" }),
      element("span", { className: "bar" }), element("span", { className: "bar short" }));
    item.setAttribute("aria-hidden", "true");
    return item;
  });
}

// Show the three most probable categories of a photo, the first as the prediction.
export function showCategory(heading, list, prediction) {
  const { category, abstained, probabilities } = prediction;
  const doubt = element("span", { className: "doubt", textContent: text("not_sure") });
  heading.replaceChildren(...(abstained ? [doubt, category] : [category]));
  const first = Object.entries(probabilities).sort(([, a], [, b]) => b - a).slice(0, 3);
  list.classList.toggle("unsure", abstained);
  list.replaceChildren(...first.map(([label, share], rank) => {
    const fillOfBar = element("span", {});
    fillOfBar.style.width = `${share * 100}%`;
    const bar = element("span", { className: "share" }, fillOfBar);
    bar.setAttribute("aria-hidden", "true");
    // The heading has the first label.
    return element("li", {}, element("span", { textContent: rank ? label : text("confidence") }), " ",
      element("span", { className: "number", textContent: percent(share) }), bar);
  }));
}
