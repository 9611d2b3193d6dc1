// Display state: the query, its listings, or an error.

import { close, hitCard } from "./detail.js";
import { button, errorElements } from "./errors.js";
import { showFacets } from "./facets.js";
import * as filters from "./filters.js";
import { growth } from "./letterbox.js";
import { photoCard, showCards, showCategory, showPlaceholders } from "./listings.js";
import { showMeaning } from "./meaning.js";

export { showRoots } from "./facets.js";

const find = (id) => document.getElementById(id);
const [photo, status, error, hits, more, sort] = ["photo", "status", "error", "hits", "more", "sort"].map(find);

// ── Capabilities

// Show whether the release supports text search.
export function showCapabilities(textSearch) {
  document.body.classList.toggle("photo-only", !textSearch);
  if (textSearch) return;
  find("promise").textContent = "See its category and the most similar listings.";
  if (document.body.classList.contains("start-page")) find("welcome").textContent = "Find listings by photo";
}

// Hide the upload if the release has no photo search.
export function showLacks(lacks) {
  const wordsOnly = "photo_search" in lacks;
  document.body.classList.toggle("words-only", wordsOnly);
  if (wordsOnly) find("promise").textContent = "By words and filters.";
}

const photoOnly = () => document.body.classList.contains("photo-only");

// ── Progress

// Show that a search is running, with placeholders if there are no cards to keep.
export function showBusy(search, placeholders) {
  error.replaceChildren();
  find("results").hidden = false;
  hits.setAttribute("aria-busy", "true"); // the list only: screen readers skip busy elements
  more.hidden = true;
  status.textContent = search.photo || search.like ? "Searching for similar listings…" : "Searching…";
  if (placeholders) showPlaceholders(hits, placeholders);
}

// Show the seconds until the retry; 0 if it is running.
export function showWaiting(seconds) {
  // Not every second: screen readers announce each change.
  if (seconds === 0) status.textContent = "Retrying…";
  else if (!status.textContent.startsWith("The server is busy")) {
    status.textContent = `The server is busy. Retrying in ${seconds} s.`;
  }
}

// Show an error; see errors.js for the actions.
export function showError(problem, actions) {
  hits.removeAttribute("aria-busy");
  status.textContent = "";
  hits.replaceChildren();
  more.hidden = true;
  error.replaceChildren(...errorElements(problem, actions));
}

// ── The query

export function showStart() {
  document.body.classList.add("start-page");
  for (const id of ["results", "filters", "prediction", "photo", "no-preview", "remove", "hint"]) find(id).hidden = true;
  find("choose").textContent = "Choose a photo";
  find("welcome").textContent = photoOnly() ? "Find listings by photo" : "Find listings";
  find("caption").textContent = "";
  find("words").value = "";
  document.title = "fb-marketplace";
}

export function showQuery(search) {
  document.body.classList.remove("start-page");
  const hasPhoto = Boolean(search.photo || search.like);
  find("filters").hidden = false;
  find("choose").textContent = hasPhoto ? "Another photo" : "Add a photo";
  find("welcome").textContent = search.words || (hasPhoto ? "Your photo" : "All listings");
  find("remove").hidden = !hasPhoto || photoOnly();
  find("hint").hidden = !hasPhoto || Boolean(search.words);
  find("words").value = search.words;
  find("query").classList.toggle("no-photo", !hasPhoto);
  document.title = `${search.words || search.caption || "Listings"} · fb-marketplace`;
  filters.write(search.filters);
  showSort(search);
  find("heading").textContent = heading(search.words, hasPhoto);
  find("caption").textContent = search.caption;
  showPhoto(search);
  showPrediction(search);
}

function heading(words, hasPhoto) {
  if (words) return hasPhoto ? `Similar, and “${words}”` : `“${words}”`;
  return hasPhoto ? "Most similar listings" : "All listings";
}

// Sorting by date requires dates.
export function offerNewest(hasDates) {
  const newest = sort.querySelector("[value=newest]");
  newest.disabled = newest.hidden = !hasDates;
}

// Sorting by distance requires a place.
function showSort({ sort: order, filters: { near } }) {
  const nearest = sort.querySelector("[value=distance]");
  nearest.disabled = !near;
  nearest.textContent = near ? "nearest first" : "nearest (needs a town)";
  sort.value = order === "distance" && !near ? "relevance" : order;
}

let shownPhoto = null;

export function showPhoto(search) {
  URL.revokeObjectURL(photo.src);
  find("no-preview").hidden = true;
  const blob = shownPhoto = search.photo;
  photo.hidden = !blob;
  if (!blob) return;
  photo.alt = `Photo of this search: ${search.caption}`;
  photo.src = URL.createObjectURL(blob);
  photo.style.transform = "";
  growth(blob).then((scale) => {
    if (blob === shownPhoto) photo.style.transform = `scale(${scale})`;
  }, () => {}); // undecodable photos have no preview
}

photo.addEventListener("error", () => {
  photo.hidden = true;
  find("no-preview").hidden = false;
});

export function showPrediction({ prediction }) {
  const known = Boolean(prediction?.category); // null: the release has no classifier
  find("prediction").hidden = !known;
  if (known) showCategory(find("category"), find("probabilities"), prediction);
}

// ── Results

// Show the listings of a search, with callbacks to clear or narrow the filters, to explain a hit, to ignore a
// meaning of the words and to search for others.
export function showListings(search, { clearFilters, narrow, explain, ignore, searchWords }) {
  const { response, words, caption } = search;
  hits.removeAttribute("aria-busy");
  error.replaceChildren();
  find("results").hidden = false;
  find("caption").textContent = caption;
  filters.showCount(search.filters);
  showSort(search);
  const currency = search.hits.find((hit) => hit.currency)?.currency ?? "GBP";
  showMeaning(response, search.filters.categories, currency, { ignore, narrow, searchWords });
  if (response) {
    showFacets(response, search.filters, currency, narrow);
  }
  const explainHit = words || search.photo ? explain : null;
  showCards(hits, search.hits, response ? (hit) => hitCard(hit, explainHit) : photoCard);
  more.hidden = search.ended;
  const filtered = filters.count(search.filters) > 0;
  status.textContent = response ? summary(search, filtered) : photoSummary(search, filtered);
  if (!search.hits.length && filtered) error.replaceChildren(button("Clear filters", clearFilters));
}

export function closePanels() {
  for (const panel of hits.querySelectorAll(":scope > .panel")) close(panel.previousElementSibling);
}

const plural = (count, noun) => `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;

const NO_MATCH = "No listings match these filters.";
const NO_LISTINGS = "There are no listings to search.";
const MATCHING = " matching these filters";

function photoSummary({ hits: listings, complete }, filtered) {
  if (!listings.length) return filtered ? NO_MATCH : NO_LISTINGS;
  return `${complete ? "All " : ""}${plural(listings.length, "listing")}${filtered ? MATCHING : ""}, most similar first.`;
}

const ORDERS = {
  relevance: "best first",
  newest: "newest first",
  price_asc: "cheapest first",
  price_desc: "most expensive first",
  distance: "nearest first",
};

function nothingRelevant({ nearest_category: nearest }) {
  return `No relevant listings. ${nearest ? `The nearest category is ${nearest}.` : "Try other words, or fewer."}`;
}

function summary({ total, hits: listings, response, sort: order, words, photo: file, restarted }, filtered) {
  const notice = restarted ? "The listings have changed, and are shown from the start. " : "";
  if (!listings.length) {
    return notice + (filtered ? NO_MATCH : words ? nothingRelevant(response) : NO_LISTINGS);
  }
  const duplicates = response.total_listings - response.total;
  const more = duplicates > 0 ? ` and ${plural(duplicates, "duplicate")}` : "";
  const suffix = order === "relevance" && !words && !file ? "" : `, ${ORDERS[order]}`;
  return `${notice}${plural(total, "listing")}${more}${filtered ? MATCHING : ""}${suffix}.`;
}
