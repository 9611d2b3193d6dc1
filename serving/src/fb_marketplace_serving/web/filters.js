// Filters: form, API parameters and address.

import { element, find } from "./dom.js";
import { kilometres, text } from "./text.js";

const ATTRIBUTE = /^[a-z]+:.{1,64}$/;
const MAX_ATTRIBUTES = 16; // of a request
const RADII_KM = ["5", "10", "25", "50", "100", "200"];

const form = find("filter-form");
const [min, max, error, near, radius, withPhoto] =
  ["min", "max", "price-error", "near", "radius", "with-photo"].map(find);

export const none = () => ({ categories: [], attributes: [], min: "", max: "", near: "", radius: "", photo: false });

export const count = ({ categories, attributes, min: minPrice, max: maxPrice, near: town, photo }) =>
  categories.length + attributes.length + [minPrice, maxPrice, town, photo].filter(Boolean).length;

// Return the filters as API parameters, which the address of the page uses too.
export function toQuery(filters) {
  const query = new URLSearchParams();
  for (const category of filters.categories) query.append("category", category);
  for (const name of filters.attributes) query.append("attribute", name);
  if (filters.min !== "") query.set("min_price", filters.min);
  if (filters.max !== "") query.set("max_price", filters.max);
  if (filters.near) query.set("near", filters.near);
  if (filters.near && filters.radius) query.set("radius_km", filters.radius);
  if (filters.photo) query.set("has_photo", "true");
  return query;
}

export function fromQuery(query) {
  const number = (name) => (/^\d+(\.\d+)?$/.test(query.get(name) ?? "") ? query.get(name) : "");
  return {
    categories: query.getAll("category"),
    attributes: [...new Set(query.getAll("attribute"))].filter((name) => ATTRIBUTE.test(name)).slice(0, MAX_ATTRIBUTES),
    min: number("min_price"),
    max: number("max_price"),
    near: query.get("near") ?? "",
    radius: number("radius_km"),
    photo: query.get("has_photo") === "true",
  };
}

let chosen = { categories: [], attributes: [] }; // by facets, which are not part of the form

// Read the form. Shows an error and returns null if a price is invalid.
export function read() {
  const invalid = [min, max].find((field) => !field.validity.valid);
  const crossed = !invalid && min.value !== "" && max.value !== "" && Number(min.value) > Number(max.value);
  error.textContent = invalid
    ? text("price_invalid")
    : crossed ? text("price_crossed") : "";
  for (const field of [min, max]) field.setAttribute("aria-invalid", String(crossed || field === invalid));
  radius.disabled = !near.value.trim();
  if (invalid || crossed) return null;
  const boxes = [...form.querySelectorAll("[name=category]")];
  return {
    categories: boxes.length ? boxes.filter((box) => box.checked).map((box) => box.value) : chosen.categories,
    attributes: chosen.attributes,
    min: min.value,
    max: max.value,
    near: near.value.trim(),
    radius: radius.value,
    photo: withPhoto.checked,
  };
}

// Write filters to the form.
export function write(filters) {
  chosen = filters;
  min.value = filters.min;
  max.value = filters.max;
  near.value = filters.near;
  offerRadius(filters.radius);
  withPhoto.checked = filters.photo;
  for (const box of form.querySelectorAll("[name=category]")) {
    box.checked = filters.categories.includes(box.value);
  }
  read();
  showCount(filters);
}

radius.append(new Option(text("any_distance"), ""), ...RADII_KM.map((km) => new Option(kilometres(Number(km)), km)));

// An address may have a radius that is not in the list.
function offerRadius(km) {
  if (![...radius.options].some((option) => option.value === km)) radius.append(new Option(kilometres(Number(km)), km));
  radius.value = km;
}

export function showCount(filters) {
  const active = count(filters);
  find("filter-count").textContent = active ? ` · ${text("filters_set", { count: active })}` : "";
  find("clear").hidden = !active;
}

// Show the categories as checkboxes, if there are no facets.
export function offer(categories, filters) {
  find("categories").replaceChildren(...categories.map((label) => element(
    "label", { className: "check" },
    element("input", { type: "checkbox", name: "category", value: label }),
    element("span", { textContent: label }),
  )));
  write(filters);
}
