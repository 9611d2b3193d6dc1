// Details of a hit, opened below its card: explanation, duplicates, comparable listings.

import { ApiError, fetchProduct, recordClick } from "./api.js";
import { element } from "./dom.js";
import { explanationElements } from "./explain.js";
import { card } from "./listings.js";
import { money, text } from "./text.js";

const MAX_LISTINGS = 12; // in a panel

// Make the card of a hit. `explain` fetches its explanation; null if there is none.
export function hitCard(hit, tile, explain) {
  const item = card(hit, tile);
  const { search_id: searchId, product_id: productId } = hit;
  const link = item.querySelector("a.listing");
  // A middle click opens the listing in a new tab.
  if (searchId) {
    for (const type of ["click", "auxclick"]) link?.addEventListener(type, () => recordClick(searchId, productId));
  }
  const details = element("div", { className: "details" });
  const { typical_price: typical, notes, duplicates } = hit;
  // A note on an unusual price contains the typical price.
  if (typical && !notes.some(({ kind }) => kind === "unusual_price")) {
    const [low, high] = [typical.low, typical.high].map((amount) => money(amount, hit.currency));
    const comparables = () => listingElements(text("some_similar"), typical.comparables);
    const node = opener(item, text("typical_price", { low, high }), hit.title, comparables);
    node.classList.add("typical");
    details.append(node);
  }
  for (const note of notes) details.append(noteElement(item, note, hit.title));
  if (duplicates.length) {
    details.append(opener(item, text("duplicates", { count: duplicates.length }), hit.title, () =>
      listingElements(text("same_item"), duplicates)));
  }
  if (explain) {
    details.append(opener(item, text("why"), hit.title, async () => explanationElements(await explain(hit.product_id))));
  }
  if (details.children.length) item.append(details);
  return item;
}

function noteElement(item, { text: words, products }, title) {
  const note = element("p", { className: "note" }, `${words} `);
  if (products.length) {
    const label = text("see_listings", { count: products.length });
    note.append(opener(item, label, title, () => listingElements(text("evidence"), products)));
  }
  return note;
}

let panels = 0;

// Make a button that opens a panel below the card, one at a time, with the elements that `load` returns.
function opener(item, label, title, load) {
  const hidden = element("span", { className: "visually-hidden", textContent: title });
  const node = element("button", { type: "button", className: "opener" }, label, " ", hidden);
  node.setAttribute("aria-expanded", "false");
  node.addEventListener("click", async () => {
    const wasOpen = node.getAttribute("aria-expanded") === "true";
    close(item);
    if (wasOpen) return;
    const panel = element("li", { className: "panel", id: `panel-${(panels += 1)}`, tabIndex: -1 });
    panel.setAttribute("aria-label", `${label}: ${title}`);
    panel.append(element("p", { className: "small", textContent: text("loading") }));
    item.after(panel);
    node.setAttribute("aria-expanded", "true");
    node.setAttribute("aria-controls", panel.id);
    const end = () => {
      close(item);
      node.focus();
    };
    panel.addEventListener("keydown", ({ key }) => { if (key === "Escape") end(); });
    const shut = element("button", { type: "button", className: "quiet shut", textContent: text("close") });
    shut.addEventListener("click", end);
    const head = element("div", { className: "panel-head" }, element("h3", { textContent: title }), shut);
    panel.replaceChildren(head, ...(await loadOrError(load)));
    panel.scrollIntoView({ block: "nearest" });
  });
  return node;
}

async function loadOrError(load) {
  try {
    return await load();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return [element("p", { className: "error-text", role: "alert", textContent: `${error.message}. ${error.detail}` })];
  }
}

export function close(item) {
  const panel = item.nextElementSibling;
  if (panel?.matches(".panel")) panel.remove();
  for (const node of item.querySelectorAll(".opener")) {
    node.setAttribute("aria-expanded", "false");
    node.removeAttribute("aria-controls");
  }
}

async function listingElements(heading, productIds) {
  const list = element("ol", { className: "few" });
  const rest = productIds.slice(MAX_LISTINGS);
  const products = await Promise.all(productIds.slice(0, MAX_LISTINGS).map((id) => fetchProduct(id)));
  list.append(...products.map((product) => card({ ...product, image_id: product.image_ids[0] ?? null })));
  const more = rest.length ? [element("p", { className: "small", textContent: text("and_more", { count: rest.length }) })] : [];
  return [element("p", { className: "small", textContent: heading }), list, ...more];
}
