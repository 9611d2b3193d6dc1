// The listings that were found, as cards, and the category that was seen, as bars.

import { photoOf } from "./server.js";
import { growth } from "./letterbox.js";

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function money(amount, currency) {
  const minimumFractionDigits = Number.isInteger(amount) ? 0 : 2;
  try {
    const style = { style: "currency", currency, minimumFractionDigits, maximumFractionDigits: 2 };
    return new Intl.NumberFormat(undefined, style).format(amount);
  } catch {
    return `${amount} ${currency}`; // no code that Intl knows
  }
}

export function price({ price: amount, currency }) {
  if (amount === null || amount === undefined) return "No price";
  return amount === 0 ? "Free" : money(amount, currency);
}

export function percent(share) {
  return share > 0 && share < 0.01 ? "under 1 %" : `${Math.round(share * 100)} %`;
}

const place = ({ town, county }) => town ?? county ?? "Place not said";

function where(hit) {
  const { distance_km: km } = hit;
  if (km === null || km === undefined) return place(hit);
  return `${place(hit)} · ${km < 1 ? "under 1" : Math.round(km).toLocaleString()} km away`;
}

// Make the card of a listing: a link to the search by its photo, if it has one.
export function card(hit) {
  const photo = element("img", { alt: "", width: 256, height: 256 });
  const tile = element("span", { className: "tile" }, photo);
  const parts = [
    tile,
    element("span", { className: "price", textContent: price(hit) }),
    element("span", { className: "title", textContent: hit.title }),
    element("span", { className: "town", textContent: where(hit) }),
  ];
  const item = element("li", {});
  if (hit.image_id) {
    item.append(element("a", {
      href: `?${new URLSearchParams({ like: hit.image_id })}`,
      title: `${hit.title} – search by this photo`,
      className: "listing",
    }, ...parts));
    item.dataset.image = hit.image_id;
    fill(photo, hit.image_id);
  } else {
    item.append(element("div", { className: "listing" }, ...parts));
    sayMissing(tile);
  }
  item.dataset.product = hit.product_id;
  return item;
}

// Make the card of what similar photos are alike by: with how much they are.
export function cardOfPhoto(hit) {
  const item = card(hit);
  const similarity = `similarity ${hit.score.toFixed(2)}`;
  item.querySelector("a").append(element("span", { className: "score", textContent: similarity }));
  return item;
}

function sayMissing(tile) {
  tile.classList.add("missing");
  tile.textContent = "No photo to show";
}

const shown = new Map(); // image id → its photo, while its card is shown

async function fill(image, imageId) {
  const tile = image.parentElement;
  try {
    const photo = shown.get(imageId) ?? (await photoOf(imageId));
    shown.set(imageId, photo);
    const scale = await growth(photo);
    image.style.transform = `scale(${scale})`;
    image.src = URL.createObjectURL(photo);
    image.onload = () => {
      URL.revokeObjectURL(image.src);
      tile.classList.add("there");
    };
  } catch {
    sayMissing(tile);
  }
}

const cards = new WeakMap(); // card → what it was made of

// Show these listings and no others; the cards that stay are not made anew, and keep what is open below.
export function showCards(list, hits, make) {
  const there = new Map();
  for (const item of list.children) if (cards.has(item)) there.set(cards.get(item), item);
  list.replaceChildren(...hits.flatMap((hit) => {
    const made = JSON.stringify(hit);
    const item = there.get(made) ?? make(hit);
    cards.set(item, made);
    const open = item.nextElementSibling?.matches(".panel") ? [item.nextElementSibling] : [];
    return [item, ...open];
  }));
  const kept = new Set([...list.querySelectorAll("li[data-image]")].map((item) => item.dataset.image));
  for (const imageId of shown.keys()) if (!kept.has(imageId)) shown.delete(imageId);
}

export function showPlaceholders(list, count) {
  const blank = () => element("li", { className: "blank" }, element("span", { className: "tile" }),
    element("span", { className: "bar" }), element("span", { className: "bar short" }));
  list.replaceChildren(...Array.from({ length: count }, blank));
}

// Show the most probable categories of a photo, the first as the answer.
export function showCategory(heading, list, prediction) {
  const { category, not_sure: notSure, probabilities } = prediction;
  const doubt = element("span", { className: "doubt", textContent: "Not sure – perhaps " });
  heading.replaceChildren(...(notSure ? [doubt, category] : [category]));
  const first = Object.entries(probabilities).sort(([, a], [, b]) => b - a).slice(0, 3);
  list.classList.toggle("unsure", Boolean(notSure));
  list.replaceChildren(...first.map(([label, share], rank) => {
    const fillOfBar = element("span", {});
    fillOfBar.style.width = `${share * 100}%`;
    const bar = element("span", { className: "share" }, fillOfBar);
    bar.setAttribute("aria-hidden", "true");
    return element("li", {}, element("span", { textContent: rank ? label : "confidence" }), // the heading names the first
      element("span", { className: "number", textContent: percent(share) }), bar);
  }));
}
