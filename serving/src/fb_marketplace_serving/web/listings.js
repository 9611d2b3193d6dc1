// The listings that were found, as cards, and the category that was seen, as bars.

import { photoOf } from "./server.js";
import { growth } from "./letterbox.js";

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function price({ price: amount, currency }) {
  if (amount === null || amount === undefined) return "No price";
  if (amount === 0) return "Free";
  const minimumFractionDigits = Number.isInteger(amount) ? 0 : 2;
  try {
    const style = { style: "currency", currency, minimumFractionDigits, maximumFractionDigits: 2 };
    return new Intl.NumberFormat(undefined, style).format(amount);
  } catch {
    return `${amount} ${currency}`; // no code that Intl knows
  }
}

export function percent(share) {
  return share > 0 && share < 0.01 ? "under 1 %" : `${Math.round(share * 100)} %`;
}

const place = ({ town, county }) => town ?? county ?? "Place not said";

// Make the card of a listing: a link to the search by its photo.
export function card(hit) {
  const photo = element("img", { alt: "", width: 256, height: 256 });
  const title = element("span", { className: "title" });
  title.textContent = hit.title;
  const score = hit.score.toFixed(2);
  const link = element(
    "a",
    { href: `?${new URLSearchParams({ like: hit.image_id })}` },
    element("span", { className: "tile" }, photo),
    element("span", { className: "price", textContent: price(hit) }),
    title,
    element("span", { className: "town", textContent: place(hit) }),
    element("span", { className: "score", textContent: `similarity ${score}` }),
  );
  link.title = `${hit.title} – search by this photo`;
  const item = element("li", {}, link);
  item.dataset.image = hit.image_id;
  fill(photo, hit.image_id);
  return item;
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
    tile.classList.add("missing");
    tile.textContent = "No photo to show";
  }
}

// Show these listings and no others; the cards that stay are not made anew.
export function showCards(list, hits) {
  const cards = new Map([...list.children].map((item) => [item.dataset.image, item]));
  list.replaceChildren(...hits.map((hit) => cards.get(hit.image_id) ?? card(hit)));
  const kept = new Set(hits.map((hit) => hit.image_id));
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
