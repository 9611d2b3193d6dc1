// Notes on a hit, below its card, and the explanation of its score.

import { ApiError, recordClick } from "./api.js";
import { element } from "./dom.js";
import { explanationElements } from "./explain.js";
import { card } from "./listings.js";
import { money, text } from "./text.js";

// Make the card of a hit. `explain` fetches its explanation; null if there is none.
export function hitCard(hit, tile, explain) {
  const item = card(hit, tile);
  const { search_id: searchId, product_id: productId, typical_price: typical, notes, duplicates } = hit;
  const link = item.querySelector("a.listing");
  // A middle click opens the listing in a new tab.
  if (searchId) {
    const record = ({ button }) => { if (button !== 2) recordClick(searchId, productId); }; // not for the context menu
    for (const type of ["click", "auxclick"]) link.addEventListener(type, record);
  }
  const details = element("div", { className: "details" });
  const line = (className, textContent) => details.append(element("p", { className, textContent }));
  // A note on an unusual price contains the typical price.
  if (typical && !notes.some(({ kind }) => kind === "unusual_price")) {
    const [low, high] = [typical.low, typical.high].map((amount) => money(amount, hit.currency));
    line("typical", text("typical_price", { low, high }));
  }
  for (const note of notes) line("note", note.text);
  if (duplicates.length) line("typical", text("duplicates", { count: duplicates.length }));
  if (explain) details.append(opener(item, hit, explain));
  if (details.children.length) item.append(details);
  return item;
}

let panels = 0;

// Make a button that opens a panel below the card, with the explanation of the hit.
function opener(item, { product_id: productId, title }, explain) {
  const label = text("why");
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
    panel.replaceChildren(head, ...(await elementsOrError(() => explain(productId))));
    panel.scrollIntoView({ block: "nearest" });
  });
  return node;
}

// Return the elements of the explanation that `load` fetches, or of its error.
export async function elementsOrError(load) {
  try {
    return explanationElements(await load());
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
