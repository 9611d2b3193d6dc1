// Saved searches, stored in this browser.

import { button, element, find, toast } from "./dom.js";
import { text } from "./text.js";

const KEY = "fb-marketplace-saved";

const [dialog, form, name, error, list] = ["saved-dialog", "save-form", "save-name", "saved-error", "saved-list"].map(find);

const isSearch = (saved) => typeof saved?.name === "string" && typeof saved.address === "string";

// Return the saved searches: name and address, the newest first.
function read() {
  try {
    const saved = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(saved) ? saved.filter(isSearch) : [];
  } catch {
    return []; // blocked, or written by something else
  }
}

function write(searches) {
  try {
    localStorage.setItem(KEY, JSON.stringify(searches));
    error.textContent = "";
    return true;
  } catch (problem) {
    error.textContent = text(problem.name === "QuotaExceededError" ? "storage_full" : "storage_blocked");
    return false;
  }
}

function show(open) {
  const searches = read();
  find("saved-none").hidden = searches.length > 0;
  find("saved-count").hidden = !searches.length;
  find("saved-count").textContent = searches.length || "";
  list.replaceChildren(...searches.map((saved) => row(saved, open)));
}

function row({ name: label, address }, open) {
  const link = element("a", { href: address, textContent: label });
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    dialog.close();
    open(address);
  });
  const remove = button("✕", () => {
    if (!write(read().filter((saved) => saved.name !== label))) return;
    toast(text("saved_deleted", { name: label }));
    show(open);
    (list.querySelector("a") ?? find("saved-close")).focus();
  }, "quiet");
  remove.setAttribute("aria-label", text("delete_saved", { name: label }));
  return element("li", {}, link, remove);
}

// Offer saved searches. `describe` returns name and address of the search on the page, or null if there is none; `open`
// runs the search of an address.
export function offerSaved({ describe, open }) {
  const showDialog = (saving) => {
    const search = describe();
    form.hidden = !search;
    name.value = search?.name ?? "";
    error.textContent = "";
    show(open);
    dialog.showModal();
    if (saving) name.select();
  };
  find("saved-open").addEventListener("click", () => showDialog(false));
  find("save").addEventListener("click", () => showDialog(true));
  find("saved-close").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const label = name.value.trim();
    const search = describe();
    if (!label || !search) return;
    const others = read().filter((saved) => saved.name !== label);
    if (!write([{ name: label, address: search.address }, ...others])) return;
    dialog.close();
    show(open);
    toast(text("saved_as", { name: label }));
  });
  addEventListener("storage", ({ key }) => { if (key === KEY) show(open); }); // changed in another tab
  show(open);
}
