// Display state: the query, its listings, or an error.

import { close, hitCard } from "./detail.js";
import { button, element, find } from "./dom.js";
import { errorElements } from "./errors.js";
import { showFacets, showRoots } from "./facets.js";
import * as filters from "./filters.js";
import { growth } from "./letterbox.js";
import { photoCard, placeholders, showCards, showCategory } from "./listings.js";
import { showMeaning } from "./meaning.js";
import { number, phrase, text } from "./text.js";

const [photo, status, error, hits, more, sort, words] =
  ["photo", "status", "error", "hits", "more", "sort", "words"].map(find);

// ── Capabilities

// Show whether the release supports text search.
export function showCapabilities(textSearch) {
  document.body.classList.toggle("photo-only", !textSearch);
  if (textSearch) return;
  find("welcome").textContent = text("welcome_photo");
  find("promise").textContent = text("promise_photo");
}

// Hide the upload if the release has no photo search.
export function showLacks(lacks) {
  const wordsOnly = "photo_search" in lacks;
  document.body.classList.toggle("words-only", wordsOnly);
  if (wordsOnly) find("promise").textContent = text("promise_words");
}

// ── Progress

// Show that a search is running: with placeholders, or with the old cards. A quiet one is not announced.
export function showBusy(search, count, quiet) {
  error.replaceChildren();
  find("results").hidden = false;
  hits.setAttribute("aria-busy", "true"); // the list only: screen readers skip busy elements
  more.hidden = true;
  showNext("");
  if (!quiet) status.textContent = text(search.photo || search.like ? "searching_photo" : "searching");
  if (count) hits.replaceChildren(...placeholders(count));
}

export const showSlow = () => { status.textContent = text("still_searching"); };

// Show the seconds until the retry; 0 if it is running.
export function showWaiting(seconds) {
  // Not every second: screen readers announce each change.
  if (seconds === 0) delete status.dataset.waiting;
  else if ("waiting" in status.dataset) return;
  else status.dataset.waiting = "";
  status.textContent = seconds ? text("busy_retry", { seconds }) : text("retrying");
}

// Show an error; see errors.js for the actions.
export function showError(problem, actions) {
  hits.removeAttribute("aria-busy");
  status.textContent = "";
  delete status.dataset.waiting;
  hits.replaceChildren();
  more.hidden = true;
  error.replaceChildren(...errorElements(problem, actions));
}

// ── More listings

function showNext(message, { stale = false } = {}) {
  find("next-status").textContent = message;
  find("refresh").hidden = !stale;
}

export const showLoadingMore = () => showNext(text("loading_more"));

export const showMoreError = (problem) => showNext(text("loading_more_failed", { reason: problem.message }));

// ── The query

// Show the start page, with or without listings to browse.
export function showHome({ listings, sort: order }) {
  document.body.classList.add("start-page");
  for (const id of ["filters", "query"]) find(id).hidden = true;
  if (!listings) find("results").hidden = true;
  words.value = "";
  document.title = "fb-marketplace";
  showHomeHeading(order);
}

function showHomeHeading(order) {
  find("heading").textContent = text(order === "newest" ? "heading_home" : "heading_all");
}

export function showQuery(search) {
  if (search.home) {
    showHome({ listings: true, sort: search.sort });
    return;
  }
  document.body.classList.remove("start-page");
  const hasPhoto = Boolean(search.photo || search.like);
  find("filters").hidden = false;
  find("query").hidden = !hasPhoto;
  find("hint").hidden = !hasPhoto || Boolean(search.words);
  // Not the space that is being typed.
  if (words.value.trim() !== search.words) words.value = search.words;
  document.title = text("title", { name: nameOf(search) });
  filters.write(search.filters);
  showSort(search);
  find("heading").textContent = headingOf(search.words, hasPhoto);
  find("caption").textContent = search.caption;
  showPhoto(search);
  showPrediction(search);
}

// Return the heading of a search.
export const nameOf = (search) =>
  search.words || search.caption || search.filters.categories.join(", ") || text("title_all");

function headingOf(searched, hasPhoto) {
  if (searched) return text(hasPhoto ? "heading_both" : "heading_words", { words: searched });
  return text(hasPhoto ? "heading_photo" : "heading_all");
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
  nearest.textContent = text(near ? "sort_distance" : "sort_needs_town");
  sort.value = order === "distance" && !near ? "relevance" : order;
}

let shownPhoto = null;

export function showPhoto(search) {
  const blob = search.photo;
  if (blob && blob === shownPhoto) return;
  URL.revokeObjectURL(photo.src);
  find("no-preview").hidden = true;
  shownPhoto = blob;
  photo.hidden = !blob;
  if (!blob) return;
  photo.alt = text("photo_of_search", { caption: search.caption });
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
// meaning of the words, to search for others and to browse a category.
export function showListings(search, { clearFilters, narrow, explain, ignore, searchWords, browse }) {
  const { response, words: searched, caption, completed } = search;
  hits.removeAttribute("aria-busy");
  delete status.dataset.waiting;
  error.replaceChildren();
  find("results").hidden = false;
  find("caption").textContent = caption;
  filters.showCount(search.filters);
  showSort(search);
  if (search.home) showHomeHeading(search.sort);
  const currency = search.hits.find((hit) => hit.currency)?.currency ?? "GBP";
  showMeaning(search.home ? null : response, search.filters.categories, currency, { ignore, narrow, searchWords });
  if (completed) {
    const strong = element("strong", { textContent: completed });
    find("meaning").prepend(element("p", {}, ...phrase("completed", { text: strong })));
  }
  if (response) showFacets(response, search.filters, currency, narrow);
  if (search.home) showRoots(response.categories, browse);
  const explainHit = searched || search.photo ? explain : null;
  showCards(hits, search.hits, response ? (hit, tile) => hitCard(hit, tile, explainHit) : photoCard);
  const filtered = filters.count(search.filters) > 0;
  status.textContent = response ? summary(search, filtered) : photoSummary(search, filtered);
  find("filters-done").textContent = text("show_listings", { count: search.total ?? search.hits.length });
  showEnd(search);
  if (!search.hits.length && filtered) error.replaceChildren(button(text("clear_filters"), clearFilters));
  else if (!search.hits.length && searched) {
    const label = text(search.photo ? "search_photo_only" : "show_all");
    error.replaceChildren(button(label, () => searchWords("")));
  }
}

function showEnd({ stale, ended, total, hits: shown, limit }) {
  more.hidden = ended || stale;
  if (stale) showNext(text("listings_changed"), { stale });
  else if (ended) showNext(total && shown.length > 24 ? text("end_of_list", { total }) : "");
  else showNext(total ? text("loaded_more", { count: shown.length, total }) : "");
}

export function closePanels() {
  for (const panel of hits.querySelectorAll(":scope > .panel")) close(panel.previousElementSibling);
}

function photoSummary({ hits: listings, complete }, filtered) {
  if (!listings.length) return text(filtered ? "no_match" : "no_listings");
  const count = text("listings", { count: listings.length });
  const all = complete ? text("all_of_listings", { count: listings.length, listings: count }) : count;
  return ordered(filtered ? text("matching", { listings: all }) : all, "similar");
}

const ordered = (counted, order) => text("ordered", { summary: counted, order: text(`order_${order}`) });

function summary({ total, hits: listings, response, sort: order, words: searched, photo: file }, filtered) {
  if (!listings.length) {
    const { nearest_category: category } = response;
    if (filtered || !searched) return text(filtered ? "no_match" : "no_listings");
    return category ? text("nothing_relevant_nearest", { category }) : text("nothing_relevant");
  }
  let counted = text("listings", { count: total });
  const duplicates = response.total_listings - response.total;
  if (duplicates > 0) counted = text("and_duplicates", { listings: counted, count: duplicates });
  if (filtered) counted = text("matching", { listings: counted });
  if (order === "relevance" && !searched && !file) return text("unordered", { summary: counted });
  return ordered(counted, order);
}

// Show the number of photos and listings of the release.
export function showSize({ photos, products }) {
  if (photos && products) find("size").textContent = text("counts", { photos: number(photos), count: products });
}
