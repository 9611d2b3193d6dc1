// Listings as cards, and predicted categories as bars.

import { fetchPhoto } from "./api.js";
import { growth } from "./letterbox.js";

export function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

export function money(amount, currency) {
  const minimumFractionDigits = Number.isInteger(amount) ? 0 : 2;
  try {
    const style = { style: "currency", currency, minimumFractionDigits, maximumFractionDigits: 2 };
    return new Intl.NumberFormat(undefined, style).format(amount);
  } catch {
    return `${amount} ${currency}`; // unknown to Intl
  }
}

const IMPLAUSIBLE = ["joke", "absurd"];

export function price({ price: amount, currency, price_flag: flag }) {
  if (amount === null || amount === undefined) return "No price";
  if (amount === 0) return "Free";
  return money(amount, currency) + (IMPLAUSIBLE.includes(flag) ? " (implausible)" : "");
}

export function percent(share) {
  return share > 0 && share < 0.01 ? "under 1 %" : `${Math.round(share * 100)} %`;
}

const location = ({ town, county }) => town ?? county ?? "Unknown location";

function locationOf(hit) {
  const { distance_km: km } = hit;
  if (km === null || km === undefined) return location(hit);
  return `${location(hit)} · ${km < 1 ? "under 1" : Math.round(km).toLocaleString()} km away`;
}

const UNITS = [["day", 1], ["hour", 24], ["minute", 1440]];

// Return "3 days ago", a date if it is longer ago than a month, or null if the date is unknown.
export function age({ created_at: created }, now = Date.now()) {
  if (!created) return null;
  const days = (now - Date.parse(created)) / 86_400_000;
  if (days > 30) return new Date(created).toLocaleDateString(undefined, { dateStyle: "medium", timeZone: "UTC" });
  const [unit, perDay] = UNITS.find(([, count]) => days * count >= 1) ?? UNITS.at(-1);
  return new Intl.RelativeTimeFormat(undefined, { numeric: "auto" }).format(-Math.max(0, Math.floor(days * perDay)), unit);
}

// Make the card of a listing. It links to the search by its photo, if it has one.
export function card(hit) {
  const photo = element("img", { alt: "", width: 256, height: 256 });
  const tile = element("span", { className: "tile" }, photo);
  const parts = [
    tile,
    element("span", { className: "price", textContent: price(hit) }),
    element("span", { className: "title", textContent: hit.title }),
    element("span", { className: "town", textContent: [locationOf(hit), age(hit)].filter(Boolean).join(" · ") }),
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
    showMissing(tile);
  }
  item.dataset.product = hit.product_id;
  return item;
}

// Make the card of a similar photo, with its similarity.
export function photoCard(hit) {
  const item = card(hit);
  const similarity = `similarity ${hit.score.toFixed(2)}`;
  item.querySelector("a").append(element("span", { className: "score", textContent: similarity }));
  return item;
}

function showMissing(tile) {
  tile.classList.add("missing");
  tile.textContent = "No photo";
}

const photos = new Map(); // photos of the visible cards, by image id

async function fill(image, imageId) {
  const tile = image.parentElement;
  try {
    const photo = photos.get(imageId) ?? (await fetchPhoto(imageId));
    photos.set(imageId, photo);
    const scale = await growth(photo);
    image.style.transform = `scale(${scale})`;
    image.src = URL.createObjectURL(photo);
    image.onload = () => {
      URL.revokeObjectURL(image.src);
      tile.classList.add("loaded");
    };
  } catch {
    showMissing(tile);
  }
}

const cards = new WeakMap(); // the hit of each card, as JSON

// Show these hits. Cards of unchanged hits are reused, with their open panels.
export function showCards(list, hits, make) {
  const existing = new Map();
  for (const item of list.children) if (cards.has(item)) existing.set(cards.get(item), item);
  list.replaceChildren(...hits.flatMap((hit) => {
    const json = JSON.stringify(hit);
    const item = existing.get(json) ?? make(hit);
    cards.set(item, json);
    const open = item.nextElementSibling?.matches(".panel") ? [item.nextElementSibling] : [];
    return [item, ...open];
  }));
  const visible = new Set([...list.querySelectorAll("li[data-image]")].map((item) => item.dataset.image));
  for (const imageId of photos.keys()) if (!visible.has(imageId)) photos.delete(imageId);
}

export function showPlaceholders(list, count) {
  const blank = () => element("li", { className: "blank" }, element("span", { className: "tile" }),
    element("span", { className: "bar" }), element("span", { className: "bar short" }));
  list.replaceChildren(...Array.from({ length: count }, blank));
}

// Show the three most probable categories of a photo, the first as the prediction.
export function showCategory(heading, list, prediction) {
  const { category, abstained, probabilities } = prediction;
  const doubt = element("span", { className: "doubt", textContent: "Not sure – perhaps " });
  heading.replaceChildren(...(abstained ? [doubt, category] : [category]));
  const first = Object.entries(probabilities).sort(([, a], [, b]) => b - a).slice(0, 3);
  list.classList.toggle("unsure", abstained);
  list.replaceChildren(...first.map(([label, share], rank) => {
    const fillOfBar = element("span", {});
    fillOfBar.style.width = `${share * 100}%`;
    const bar = element("span", { className: "share" }, fillOfBar);
    bar.setAttribute("aria-hidden", "true");
    return element("li", {}, element("span", { textContent: rank ? label : "confidence" }), // the heading has the first
      element("span", { className: "number", textContent: percent(share) }), bar);
  }));
}
