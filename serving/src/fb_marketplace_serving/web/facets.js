// Category, price and attribute facets, which narrow a search.

import { element, find } from "./dom.js";
import { money, number, text, textOr } from "./text.js";

const SEPARATOR = " / "; // of category paths
const MAX_FACETS = 8;     // shown before "more"
const MAX_VALUES = 5;     // of an attribute
const CENT = 0.01;        // bands exclude their upper bound, filters include it

const expanded = new Set(); // keys of the lists of which all values are shown

// Show the facets of a response. `narrow` is called with the changed filters, or a function that returns them.
export function showFacets({ categories, prices, attributes }, filters, currency, narrow) {
  replaceKeepingFocus(find("categories"), [
    ...filters.categories.map((path) => crumbs(path, narrow)),
    list(categories.filter(({ path }) => !filters.categories.includes(path)), (facet) =>
      choice(lastPart(facet.path, filters.categories), facet.count, facet.path, () =>
        narrow({ categories: [facet.path] })), "categories"),
  ]);
  const set = filters.min !== "" || filters.max !== "";
  const any = choice(text("any_price"), null, "any", () => narrow({ min: "", max: "" }));
  replaceKeepingFocus(find("bands"), [
    ...(set ? [any] : []),
    list(set ? [] : prices.filter(({ count }) => count > 0), (band) =>
      choice(bandLabel(band, currency), band.count, `${band.low}`, () => narrow(bounds(band))), "prices"),
  ]);
  replaceKeepingFocus(find("attributes"), attributeGroups(attributes, filters.attributes, narrow));
}

// Show the root categories on the start page.
export function showRoots(categories, start) {
  find("roots").replaceChildren(...categories.map(({ path, count }) =>
    element("li", {}, choice(path, count, path, () => start(path)))));
}

const bounds = ({ low, high }) => ({
  min: low ? String(low) : "",
  max: high === null ? "" : (high - CENT).toFixed(2),
});

function bandLabel({ low, high }, currency) {
  const amount = (value) => money(value, currency);
  if (high === null) return text("price_or_more", { low: amount(low) });
  return low ? text("price_range", { low: amount(low), high: amount(high) }) : text("price_under", { high: amount(high) });
}

// Make breadcrumbs of a category path.
function crumbs(path, narrow) {
  const parts = path.split(SEPARATOR);
  const ancestors = parts.map((part, depth) => {
    const prefix = parts.slice(0, depth + 1).join(SEPARATOR);
    const link = choice(part, null, prefix, () => narrow({ categories: [prefix] }));
    if (prefix === path) link.setAttribute("aria-current", "true");
    return element("li", {}, link);
  });
  const all = choice(text("all_categories"), null, "", () => narrow({ categories: [] }));
  const trail = element("ol", { className: "crumbs" }, element("li", {}, all), ...ancestors);
  trail.setAttribute("aria-label", text("category_path"));
  return trail;
}

function lastPart(path, selected) {
  const prefix = selected.find((parent) => path.startsWith(parent + SEPARATOR));
  return prefix ? path.slice(prefix.length + SEPARATOR.length) : path;
}

// Make a group of buttons for each kind of attribute. Pressed values filter; they come first, and stay without hits.
function attributeGroups(facets, selected, narrow) {
  const offered = facets.map((facet) => ({ ...facet, name: `${facet.kind}:${facet.value}` }));
  const missing = selected.filter((name) => !offered.some((facet) => facet.name === name)).map((name) => {
    const [kind, ...value] = name.split(":");
    return { kind, value: value.join(":"), name, count: null };
  });
  const groups = Map.groupBy([...missing, ...offered], ({ kind }) => kind);
  const pressed = ({ name }) => selected.includes(name);
  return [...groups].map(([kind, values]) => {
    values.sort((one, other) => pressed(other) - pressed(one));
    const toggle = (facet) => {
      const node = choice(facet.value, facet.count, facet.name, () =>
        narrow(({ attributes }) => {
          const rest = attributes.filter((name) => name !== facet.name);
          const release = rest.length < attributes.length;
          node.setAttribute("aria-pressed", String(!release));
          return { attributes: release ? rest : [...attributes, facet.name] };
        }));
      node.setAttribute("aria-pressed", String(pressed(facet)));
      return node;
    };
    const legend = element("legend", { textContent: textOr(`attribute_${kind}`, kind) });
    const group = element("fieldset", {}, legend, list(values, toggle, kind, MAX_VALUES));
    group.dataset.kind = kind;
    return group;
  });
}

function list(facets, make, key, max = MAX_FACETS) {
  const items = facets.map((facet) => element("li", {}, make(facet)));
  const shown = expanded.has(key) ? items.length : max;
  const node = element("ul", { className: "facets" }, ...items.slice(0, shown));
  const hidden = items.slice(shown);
  if (!hidden.length) return node;
  const rest = choice(text("more_facets", { count: hidden.length }), null, `more ${key}`, () => {
    expanded.add(key);
    node.lastChild.replaceWith(...hidden);
    hidden[0].querySelector("button").focus();
  });
  rest.classList.add("rest");
  node.append(element("li", {}, rest));
  return node;
}

function choice(label, count, key, onClick) {
  const node = element("button", { type: "button", className: "choice" }, element("span", { textContent: label }));
  if (count !== null) node.append(" ", element("span", { className: "number", textContent: number(count) }));
  node.dataset.key = key;
  node.addEventListener("click", onClick);
  return node;
}

// Replace the children of an element, and restore the keyboard focus to the same button or one near it.
function replaceKeepingFocus(parent, children) {
  const active = document.activeElement;
  const key = parent.contains(active) ? active.dataset.key : undefined;
  const kind = active?.closest("fieldset")?.dataset.kind;
  parent.replaceChildren(...children);
  if (key === undefined) return;
  const buttons = [...parent.querySelectorAll("button")];
  const target = buttons.find((node) => node.dataset.key === key)
    ?? (kind && parent.querySelector(`[data-kind=${kind}] button`))
    ?? parent.querySelector("[aria-current]") ?? buttons[0] ?? find("results");
  target.focus({ preventScroll: true });
}
