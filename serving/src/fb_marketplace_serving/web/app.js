// Entry point of the search page: text search, photo search, or both.

import { fetchApi, fetchPhoto, predict, suggest } from "./api.js";
import { combobox, focusBySlash } from "./combobox.js";
import { find, toast } from "./dom.js";
import * as filters from "./filters.js";
import "./footer.js";
import { carrySearch } from "./listings.js";
import { reduce, toText } from "./photo.js";
import { offerSaved } from "./saved.js";
import { watchEnd } from "./scrolling.js";
import { explain, findListings, fromAddress, PAGE, toAddress } from "./search.js";
import * as state from "./state.js";
import { text } from "./text.js";
import { onTyping } from "./typing.js";
import { onUpload } from "./upload.js";

const MAX_HISTORY = 20; // searches restored without a request
const SLOW_MS = 4000;

const [file, words, hits, more] = ["file", "words", "hits", "more"].map(find);

// One search for each history entry: query, response, scroll position and focus.
const searches = new Map();
let current = null;
let running = new AbortController();
let loadingMore = false;
let categories = null;

// ── Starting a search

const EMPTY = {
  words: "", ignored: [], photo: null, photoText: null, like: null, caption: "", prediction: null, sort: "relevance",
  limit: PAGE, home: false, draft: false, scroll: 0, focus: null,
};
const PENDING = { loaded: [], release: null, response: null, hits: null, total: null, stale: false, ended: false, completed: null };

function start(query, { push = true } = {}) {
  enter({ ...EMPTY, filters: current?.filters ?? fromAddress().filters, ...query }, push);
  if (push) window.scrollTo(0, 0);
  return run({ clear: true });
}

// Change the current search. The old hits stay visible until the response arrives.
function change(changes, { push = true, ...options } = {}) {
  const { hits: shown, home } = current;
  if (home) changes = { sort: "relevance", ...changes }; // of the latest listings
  if (push) enter({ ...current, home: false, draft: false, ...changes, limit: PAGE }, true);
  else {
    Object.assign(current, PENDING, { home: false, draft: false }, changes, { limit: PAGE });
    store();
    state.showQuery(current);
  }
  state.closePanels();
  if (window.scrollY > hits.offsetTop) window.scrollTo(0, 0);
  return run({ clear: !shown && !hits.querySelector("[data-product]"), ...options });
}

function enter(search, push) {
  leave();
  const id = crypto.randomUUID?.() ?? String(Math.random());
  if (push && current) store();
  current = { ...search, ...PENDING, id };
  searches.set(id, current);
  if (searches.size > MAX_HISTORY) searches.delete(searches.keys().next().value);
  if (push) history.pushState(null, "", toAddress(current));
  store();
  state.showQuery(current);
}

// Save the scroll position and focus of the current search.
function leave() {
  if (!current) return;
  current.scroll = window.scrollY;
  current.focus = document.activeElement?.closest?.("#hits > li")?.dataset.product ?? null;
}

// Write the current search to its history entry, for a reload.
function store() {
  const { id, caption, scroll, focus } = current;
  history.replaceState({ id, caption, scroll, focus }, "", toAddress(current));
}

let uploads = 0;

async function searchByFile(files) {
  const [chosen] = files;
  if (!chosen || document.body.classList.contains("words-only")) return;
  const upload = uploads += 1;
  const { name } = chosen;
  const caption = files.length > 1 ? text("first_of_files", { name, count: files.length }) : name;
  const photo = await reduce(chosen);
  const photoText = photo && (await toText(photo));
  // The server may read a format that the browser cannot.
  if (upload === uploads) start({ words: words.value.trim(), photo: photo ?? chosen, photoText, caption });
}

// Search for words, and keep the photo and the filters. Words that are being typed have one history entry.
function searchByWords(searched) {
  typing.cancel();
  suggestions.close();
  words.value = searched;
  const isShown = current?.hits && searched === current.words && !current.completed && !current.home;
  if (isShown) current.draft = false;
  else change({ words: searched, ignored: [] }, { push: !current.draft });
  if (matchMedia("(pointer: coarse)").matches) words.blur(); // hides the keyboard
}

function searchTyped(typed) {
  return change({ words: typed, ignored: [], draft: true }, { push: !current.draft, quiet: true });
}

// ── Requests. A new search aborts the previous one.

// A quiet search keeps the old listings if the server is busy, and is repeated later.
async function run({ clear = false, quiet = false } = {}) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const search = current;
  const options = { signal, onWait: quiet ? null : state.showWaiting };
  loadingMore = false;
  ending.reset();
  state.showBusy(search, clear ? PAGE : 0, quiet);
  const slow = setTimeout(state.showSlow, SLOW_MS);
  try {
    if (search.like && !search.photo) {
      search.photo = await fetchPhoto(search.like, options);
      if (search === current) state.showPhoto(search);
    }
    await Promise.all([loadCategory(search, options), loadListings(search, options)]);
    if (!categories) loadRelease();
  } catch (error) {
    if (signal.aborted || search !== current) return;
    running.abort(); // the other of the two requests
    if (quiet && error.seconds) typing.pause(error.seconds);
    else state.showError(error, { retry, choosePhoto: () => file.click(), clearFilters });
  } finally {
    clearTimeout(slow);
  }
}

async function loadCategory(search, options) {
  if (!search.photo) return;
  search.prediction ??= await predict("image", search.photo, null, options);
  if (search === current) state.showPrediction(search);
}

async function loadListings(search, options) {
  const results = await findWithCompletion(search, options);
  if (search !== current || options.signal.aborted) return;
  if (!results) {
    state.showCapabilities(false);
    state.showHome({ listings: false });
    return;
  }
  Object.assign(search, results);
  if (results.itself) search.caption = results.itself.title;
  state.showCapabilities(Boolean(results.response));
  if (!results.response && (search.words || search.filters.attributes.length)) {
    search.words = ""; // ignored by a release without text search, as attributes are
    search.filters = { ...search.filters, attributes: [] };
    state.showQuery(search);
  }
  store();
  show(search);
}

// Half a word often matches nothing: its best completion is searched for instead, until the words are submitted.
async function findWithCompletion(search, options) {
  if (search.home) return findLatest(search, options);
  const results = await findListings(search, options);
  const completed = search.draft && results && !results.hits.length ? suggestions.first(search.words) : null;
  if (!completed) return results;
  const others = await findListings({ ...search, completed }, options);
  return others.hits.length ? { ...others, completed } : results;
}

// Find the latest listings, or all if the release has no dates.
async function findLatest(search, options) {
  try {
    const results = await findListings({ ...search, sort: "newest" }, options);
    return results && { ...results, sort: "newest" };
  } catch (error) {
    if (error.cause !== "filters") throw error;
    return findListings({ ...search, sort: "relevance" }, options);
  }
}

function show(search) {
  state.showListings(search, {
    clearFilters,
    // Of the current filters: a second click may come before the answer to the first.
    narrow: (changes) => {
      const set = current.filters;
      change({ filters: { ...set, ...(typeof changes === "function" ? changes(set) : changes) } });
    },
    explain: (productId) => explain(search, productId),
    ignore: (kind) => change({ ignored: [...search.ignored, kind] }),
    searchWords: (other) => change({ words: other, ignored: [] }),
    browse: (path) => start({ filters: { ...filters.none(), categories: [path] } }),
  });
  ending.again();
}

// Load the next page below the others. Listings of another release are not appended.
async function loadMore() {
  if (loadingMore || !current?.hits || current.ended || current.stale) return;
  loadingMore = true;
  const search = current;
  const { signal } = running;
  state.showLoadingMore();
  try {
    const page = await findListings({ ...search, limit: search.limit + PAGE }, { signal, onWait: () => {} });
    if (search !== current || signal.aborted) return;
    const results = page ?? { stale: true }; // a release without text search
    if (!results.stale) search.limit += PAGE;
    Object.assign(search, results);
    store();
    loadingMore = false;
    show(search);
  } catch (error) {
    if (search === current && !signal.aborted) state.showMoreError(error);
  } finally {
    loadingMore = false;
  }
}

async function loadRelease() {
  try {
    const release = await (await fetchApi("release")).json();
    categories = release.categories;
    state.showLacks(release.lacks ?? {});
    state.showSize(release.counts ?? {});
    state.offerNewest(release.has_dates);
    if (release.searchable) return;
    state.showCapabilities(false);
    filters.offer(categories, current?.filters ?? fromAddress().filters);
  } catch (error) {
    find("categories").textContent = text("no_categories", { reason: error.message.toLowerCase() });
  }
}

// ── User actions

function retry() {
  run({ clear: true });
  find("results").focus({ preventScroll: true }); // the focused button is gone
}

function changeFilters() {
  const set = filters.read();
  if (!set || !current || JSON.stringify(set) === JSON.stringify(current.filters)) return;
  filters.showCount(set);
  change({ filters: set }, { push: false });
}

function clearFilters() {
  filters.write(filters.none());
  changeFilters();
  find("results").focus({ preventScroll: true });
}

// Load more on request, and continue at the first new listing.
async function showMore() {
  const before = current.hits.at(-1)?.product_id;
  ending.reset();
  await loadMore();
  const last = hits.querySelector(`:scope > [data-product="${CSS.escape(before)}"]`);
  const cards = [...hits.querySelectorAll(":scope > [data-product]")];
  cards[cards.indexOf(last) + 1]?.querySelector("a, button")?.focus();
}

function refresh() {
  change({}, { push: false });
  window.scrollTo(0, 0);
  find("results").focus({ preventScroll: true });
}

async function share() {
  const isWhole = !current.photo || current.photoText || current.like;
  try {
    if (navigator.share && matchMedia("(pointer: coarse)").matches) {
      await navigator.share({ title: document.title, url: location.href });
      return;
    }
    await navigator.clipboard.writeText(location.href);
    toast(text(isWhole ? "link_copied" : "photo_not_shared"));
  } catch (error) {
    if (error.name !== "AbortError") toast(text("link_not_copied"));
  }
}

const suggestions = combobox(words, find("suggestions"), { complete: suggest, choose: searchByWords });
const typing = onTyping(words, { isShown: (typed) => typed === current?.words, search: searchTyped });
const ending = watchEnd(more, loadMore);

find("search").addEventListener("submit", (event) => {
  event.preventDefault();
  searchByWords(words.value.trim());
});
words.addEventListener("blur", () => { if (current) current.draft = false; });
focusBySlash(words);
for (const id of ["choose", "another"]) find(id).addEventListener("click", () => file.click());
find("remove").addEventListener("click", () => {
  start({ words: words.value.trim() });
  words.focus();
});
find("sort").addEventListener("change", ({ target }) => change({ sort: target.value }));
find("share").addEventListener("click", share);
carrySearch(hits);
// For the way back from the page of a listing.
hits.addEventListener("click", (event) => {
  if (!event.target.closest("a.listing")) return;
  leave();
  store();
});
more.addEventListener("click", showMore);
find("refresh").addEventListener("click", refresh);

let changing;
const form = find("filter-form");
form.addEventListener("input", ({ target }) => {
  clearTimeout(changing);
  // Not while typing: a partial town name is another town, or none.
  if (target.id !== "near") changing = setTimeout(changeFilters, target.type === "number" ? 400 : 0);
});
form.addEventListener("change", ({ target }) => { if (target.id === "near") changeFilters(); });
form.addEventListener("submit", (event) => {
  event.preventDefault();
  changeFilters();
});
form.addEventListener("reset", (event) => {
  event.preventDefault();
  clearFilters();
});
find("filters-done").addEventListener("click", () => {
  find("filters").open = false;
  find("results").scrollIntoView();
  find("results").focus({ preventScroll: true });
});

onUpload(searchByFile);
offerSaved({
  describe: () => (current && !current.home ? { name: state.nameOf(current), address: toAddress(current) } : null),
  open: (address) => {
    leave();
    if (current) store();
    history.pushState(null, "", address);
    open();
    window.scrollTo(0, 0);
  },
});

// The address keeps the photo: the target of the skip link would replace it.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  find("results").focus();
});

const showOffline = () => { find("offline").textContent = navigator.onLine ? "" : text("offline"); };
addEventListener("offline", showOffline);
addEventListener("online", () => {
  showOffline();
  if (current && !current.hits) run({ clear: true });
});

addEventListener("popstate", ({ state: entry }) => {
  leave();
  const search = searches.get(entry?.id);
  if (search) restore(search);
  else open();
});
// For a reload: it is too late for this when the page is left.
addEventListener("scrollend", () => {
  leave();
  if (current?.hits) store();
});

function restore(search) {
  running.abort();
  running = new AbortController(); // of the pages that are loaded next
  typing.cancel();
  current = search;
  const { scroll, focus } = search;
  state.showQuery(search);
  if (!search.hits) {
    run({ clear: true });
    return;
  }
  state.closePanels();
  show(search);
  returnTo(scroll, focus);
}

function returnTo(scroll, focus) {
  const card = focus && hits.querySelector(`:scope > [data-product="${CSS.escape(focus)}"] a`);
  (card || find(current.photo ? "caption" : "results")).focus({ preventScroll: true });
  window.scrollTo(0, scroll);
}

// Show the search in the address, or the start page. After a reload, return to the same place.
async function open() {
  const query = fromAddress();
  const { caption, scroll, focus } = history.state ?? {};
  const fallback = query.like ? text("photo_of_listing") : query.photo ? text("shared_photo") : "";
  await start({ ...query, caption: caption || fallback }, { push: false });
  if ((scroll || focus) && current.hits) returnTo(scroll, focus);
}

// ── Startup

history.scrollRestoration = "manual";
const wide = matchMedia("(min-width: 60rem)");
const showFilters = () => { find("filters").open = wide.matches; };
wide.addEventListener("change", showFilters);
showFilters();
showOffline();
open();
loadRelease();
