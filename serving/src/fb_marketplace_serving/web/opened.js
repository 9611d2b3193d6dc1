// What can be opened below a listing that was found: why it is here, what is folded under it, what is alike.

import { card, element, money } from "./listings.js";
import { noteClick, productOf, Trouble } from "./server.js";
import { explanation } from "./why.js";

const FIRST = 12; // listings that are opened at a time

// Make the card of a hit; `explain` gives it with its score taken apart, and is nothing where it has none.
export function cardOfHit(hit, explain) {
  const item = card(hit);
  const { search_id: searchId, product_id: productId } = hit;
  const link = item.querySelector("a.listing");
  // A middle click opens it too, in a tab of its own.
  if (searchId) for (const way of ["click", "auxclick"]) link?.addEventListener(way, () => noteClick(searchId, productId));
  const told = element("div", { className: "told" });
  const { typical_price: typical, notes, more } = hit;
  // A note of an unusual price says so itself.
  if (typical && !notes.some(({ kind }) => kind === "unusual_price")) {
    const range = `${money(typical.low, hit.currency)}–${money(typical.high, hit.currency)}`;
    const alike = () => listingsOf("Some of the listings that are alike", typical.alike);
    const made = opener(item, `Alike listings ask ${range}`, hit.title, alike);
    made.classList.add("typical");
    told.append(made);
  }
  for (const note of notes) told.append(noteOf(item, note, hit.title));
  if (more.length) {
    told.append(opener(item, `${more.length} more like this`, hit.title, () =>
      listingsOf("The same thing, listed again", more)));
  }
  if (explain) {
    told.append(opener(item, "Why this?", hit.title, async () => explanation(await explain(hit.product_id))));
  }
  if (told.children.length) item.append(told);
  return item;
}

function noteOf(item, { text, products }, title) {
  const note = element("p", { className: "note" }, `${text} `);
  if (products.length) {
    note.append(opener(item, products.length === 1 ? "See it" : "See them", title, () => listingsOf("What this rests on", products)));
  }
  return note;
}

let panels = 0;

// Make a button that opens a panel below the card, one at a time, with what `fill` gives.
function opener(item, label, title, fill) {
  const hidden = element("span", { className: "unseen", textContent: title });
  const made = element("button", { type: "button", className: "opener" }, label, " ", hidden);
  made.setAttribute("aria-expanded", "false");
  made.addEventListener("click", async () => {
    const mine = made.getAttribute("aria-expanded") === "true";
    close(item);
    if (mine) return;
    const panel = element("li", { className: "panel", id: `panel-${(panels += 1)}`, tabIndex: -1 });
    panel.setAttribute("aria-label", `${label}: ${title}`);
    panel.append(element("p", { className: "small", textContent: "Looking…" }));
    item.after(panel);
    made.setAttribute("aria-expanded", "true");
    made.setAttribute("aria-controls", panel.id);
    const end = () => {
      close(item);
      made.focus();
    };
    panel.addEventListener("keydown", ({ key }) => { if (key === "Escape") end(); });
    const shut = element("button", { type: "button", className: "quiet shut", textContent: "Close" });
    shut.addEventListener("click", end);
    const head = element("div", { className: "panel-head" }, element("h3", { textContent: title }), shut);
    panel.replaceChildren(head, ...(await filled(fill)));
    panel.scrollIntoView({ block: "nearest" });
  });
  return made;
}

async function filled(fill) {
  try {
    return await fill();
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    return [element("p", { className: "error-text", role: "alert", textContent: `${error.message}. ${error.detail}` })];
  }
}

export function close(item) {
  const panel = item.nextElementSibling;
  if (panel?.matches(".panel")) panel.remove();
  for (const each of item.querySelectorAll(".opener")) {
    each.setAttribute("aria-expanded", "false");
    each.removeAttribute("aria-controls");
  }
}

async function listingsOf(heading, productIds) {
  const list = element("ol", { className: "few" });
  const rest = productIds.slice(FIRST);
  const products = await Promise.all(productIds.slice(0, FIRST).map((id) => productOf(id)));
  list.append(...products.map((product) => card({ ...product, image_id: product.image_ids[0] ?? null })));
  const left = rest.length ? [element("p", { className: "small", textContent: `And ${rest.length} more.` })] : [];
  return [element("p", { className: "small", textContent: heading }), list, ...left];
}
