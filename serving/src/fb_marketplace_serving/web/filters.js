// The filters: what the form says, as the API takes it, and back.

import { element } from "./listings.js";

const find = (id) => document.getElementById(id);
const form = find("filter-form");
const [min, max, fault] = ["min", "max", "price-error"].map(find);

export const none = () => ({ categories: [], min: "", max: "" });

export const count = ({ categories, min: least, max: most }) =>
  categories.length + (least === "" ? 0 : 1) + (most === "" ? 0 : 1);

// Give the filters as parameters of the API; the address of the page has the same.
export function toQuery(filters) {
  const query = new URLSearchParams();
  for (const category of filters.categories) query.append("category", category);
  if (filters.min !== "") query.set("min_price", filters.min);
  if (filters.max !== "") query.set("max_price", filters.max);
  return query;
}

export function fromQuery(query) {
  const number = (name) => (/^\d+(\.\d+)?$/.test(query.get(name) ?? "") ? query.get(name) : "");
  return {
    categories: query.getAll("category"),
    min: number("min_price"),
    max: number("max_price"),
  };
}

// Read the form; nothing where it makes no sense, which it then says.
export function read() {
  const wrong = [min, max].find((field) => !field.validity.valid);
  const crossed = !wrong && min.value !== "" && max.value !== "" && Number(min.value) > Number(max.value);
  fault.textContent = wrong
    ? "A price is a number, 0 or more."
    : crossed ? "The lowest price is above the highest." : "";
  for (const field of [min, max]) field.setAttribute("aria-invalid", String(crossed || field === wrong));
  if (wrong || crossed) return null;
  const categories = [...form.querySelectorAll("[name=category]:checked")].map((box) => box.value);
  return { categories, min: min.value, max: max.value };
}

// Show filters in the form.
export function write(filters) {
  min.value = filters.min;
  max.value = filters.max;
  for (const box of form.querySelectorAll("[name=category]")) {
    box.checked = filters.categories.includes(box.value);
  }
  read();
  showCount(filters);
}

export function showCount(filters) {
  const active = count(filters);
  find("filter-count").textContent = active ? ` · ${active} set` : "";
  find("clear").hidden = !active;
}

// Offer the categories that the release knows.
export function offer(categories, filters) {
  find("categories").replaceChildren(...categories.map((label) => element(
    "label", {},
    element("input", { type: "checkbox", name: "category", value: label }),
    element("span", { textContent: label }),
  )));
  write(filters);
}
