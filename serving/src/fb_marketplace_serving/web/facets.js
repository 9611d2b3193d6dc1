// How what was found is spread by category and price, to be narrowed by a click.

import { element, money } from "./listings.js";

const SEPARATOR = " / "; // between the parts of a category path
const FIRST = 8;         // facets that are shown before all are asked for
const CENT = 0.01;       // a band ends below its end, a filter includes it

const find = (id) => document.getElementById(id);

// Show the facets of an answer; `narrow` is told what of the filters changes.
export function showFacets({ categories, prices }, filters, currency, narrow) {
  keepingFocus(find("categories"), [
    ...filters.categories.map((path) => crumbs(path, narrow)),
    list(categories.filter(({ path }) => !filters.categories.includes(path)), (facet) =>
      choice(lastPart(facet.path, filters.categories), facet.count, facet.path, () =>
        narrow({ categories: [facet.path] }))),
  ]);
  const set = filters.min !== "" || filters.max !== "";
  const any = choice("any price", null, "any", () => narrow({ min: "", max: "" }));
  keepingFocus(find("bands"), [
    ...(set ? [any] : []),
    list(set ? [] : prices.filter(({ count }) => count > 0), (band) =>
      choice(inWords(band, currency), band.count, `${band.low}`, () => narrow(bounds(band)))),
  ]);
}

// Show the root categories, to begin with one of them.
export function showRoots(categories, begin) {
  find("roots").replaceChildren(...categories.map(({ path, count }) =>
    element("li", {}, choice(path, count, path, () => begin(path)))));
  find("browse").hidden = categories.length === 0;
}

const bounds = ({ low, high }) => ({
  min: low ? String(low) : "",
  max: high === null ? "" : (high - CENT).toFixed(2),
});

function inWords({ low, high }, currency) {
  const amount = (value) => money(value, currency);
  if (high === null) return `${amount(low)} and more`;
  return low ? `${amount(low)} to ${amount(high)}` : `under ${amount(high)}`;
}

// Where a category path may be left for one of those above it.
function crumbs(path, narrow) {
  const parts = path.split(SEPARATOR);
  const above = parts.map((part, at) => {
    const here = parts.slice(0, at + 1).join(SEPARATOR);
    const link = choice(part, null, here, () => narrow({ categories: [here] }));
    if (here === path) link.setAttribute("aria-current", "true");
    return element("li", {}, link);
  });
  const all = choice("All categories", null, "", () => narrow({ categories: [] }));
  const trail = element("ol", { className: "crumbs" }, element("li", {}, all), ...above);
  trail.setAttribute("aria-label", "The category, and those above it");
  return trail;
}

function lastPart(path, asked) {
  const above = asked.find((each) => path.startsWith(each + SEPARATOR));
  return above ? path.slice(above.length + SEPARATOR.length) : path;
}

function list(all, make) {
  const items = all.map((each) => element("li", {}, make(each)));
  const made = element("ul", { className: "facets" }, ...items.slice(0, FIRST));
  const hidden = items.slice(FIRST);
  if (!hidden.length) return made;
  const rest = choice(`${hidden.length} more`, null, "more", () => {
    made.lastChild.replaceWith(...hidden);
    hidden[0].querySelector("button").focus();
  });
  rest.classList.add("rest");
  made.append(element("li", {}, rest));
  return made;
}

function choice(label, count, key, act) {
  const made = element("button", { type: "button", className: "choice" }, element("span", { textContent: label }));
  if (count !== null) made.append(" ", element("span", { className: "number", textContent: count.toLocaleString() }));
  made.dataset.key = key;
  made.addEventListener("click", act);
  return made;
}

// What a click has narrowed is made anew: who came by keyboard stays where they were, or near.
function keepingFocus(place, made) {
  const active = document.activeElement;
  const key = place.contains(active) ? active.dataset.key : undefined;
  place.replaceChildren(...made);
  if (key === undefined) return;
  const buttons = [...place.querySelectorAll("button")];
  const again = buttons.find((each) => each.dataset.key === key)
    ?? place.querySelector("[aria-current]") ?? buttons[0] ?? find("results");
  again.focus({ preventScroll: true });
}
