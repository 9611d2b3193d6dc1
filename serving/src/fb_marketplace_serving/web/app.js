// Entry point of the search page: text search, photo search, or both.

import { fetchApi, fetchPhoto, predict } from "./api.js";
import * as filters from "./filters.js";
import "./footer.js";
import { browse, explain, findListings, fromAddress, PAGE, toAddress } from "./search.js";
import * as state from "./state.js";
import { offerSuggestions } from "./suggestions.js";
import { onUpload } from "./upload.js";

const MAX_HISTORY = 20; // searches restored without a request

const find = (id) => document.getElementById(id);
const [file, words, hits, more] = ["file", "words", "hits", "more"].map(find);

// One search for each history entry: query, response, scroll position and focus.
const searches = new Map();
let current = null;
let running = new AbortController();
let categories = null;

// ── Starting a search

const EMPTY = {
  words: "", ignored: [], photo: null, like: null, caption: "", prediction: null, sort: "relevance", limit: PAGE,
  scroll: 0, focus: null,
};
const PENDING = { loaded: [], release: null, response: null, hits: null, restarted: false, ended: false };

function start(query, { push = true } = {}) {
  enter({ ...EMPTY, filters: current?.filters ?? fromAddress()?.filters ?? filters.none(), ...query }, push);
  window.scrollTo(0, 0);
  return run({ clear: true });
}

// Change the current search. The old hits stay visible until the response arrives.
function change(changes, { push = true } = {}) {
  const { hits } = current;
  if (push) enter({ ...current, ...changes, limit: PAGE }, true);
  else {
    Object.assign(current, PENDING, changes, { limit: PAGE });
    history.replaceState({ id: current.id }, "", toAddress(current));
  }
  state.closePanels();
  return run({ clear: !hits });
}

function enter(search, push) {
  leave();
  const id = crypto.randomUUID?.() ?? String(Math.random());
  current = { ...search, ...PENDING, id };
  searches.set(id, current);
  if (searches.size > MAX_HISTORY) searches.delete(searches.keys().next().value);
  history[push ? "pushState" : "replaceState"]({ id }, "", toAddress(current));
  state.showQuery(current);
}

// Save the scroll position and focus of the current search.
function leave() {
  if (!current) return;
  current.scroll = window.scrollY;
  current.focus = document.activeElement?.closest?.("#hits > li")?.dataset.product ?? null;
}

function searchByFile(files) {
  const [chosen] = files;
  if (!chosen || document.body.classList.contains("words-only")) return;
  const others = files.length - 1;
  const caption = others ? `${chosen.name}, the first of ${files.length}` : chosen.name;
  start({ words: words.value.trim(), photo: chosen, caption });
}

function searchByWords() {
  const { photo, like, caption, prediction } = current ?? EMPTY;
  start({ words: words.value.trim(), photo, like, caption, prediction });
}

function searchByListing(imageId, title) {
  start({ like: imageId, caption: title });
  find("caption").focus({ preventScroll: true });
}

// ── Requests. A new search aborts the previous one.

async function run({ clear = false } = {}) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const search = current;
  const options = { signal, onWait: state.showWaiting };
  state.showBusy(search, clear ? PAGE : 0);
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
    state.showError(error, { retry, choosePhoto: () => file.click(), clearFilters });
  }
}

async function loadCategory(search, options) {
  if (!search.photo) return;
  search.prediction ??= await predict("image", search.photo, null, options);
  if (search === current) state.showPrediction(search);
}

async function loadListings(search, options) {
  const results = await findListings(search, options);
  if (search !== current || options.signal.aborted) return;
  Object.assign(search, results);
  if (results.itself) search.caption = results.itself.title;
  state.showCapabilities(Boolean(results.response));
  if (!results.response && search.words) {
    search.words = ""; // ignored by a release without text search
    state.showQuery(search);
  }
  history.replaceState({ id: search.id }, "", toAddress(search)); // a new release restarts at page 1
  show(search);
}

function show(search) {
  state.showListings(search, {
    clearFilters,
    narrow: (changes) => change({ filters: { ...search.filters, ...changes } }),
    explain: (productId) => explain(search, productId),
    ignore: (kind) => change({ ignored: [...search.ignored, kind] }),
    searchWords: (text) => change({ words: text, ignored: [] }),
  });
}

async function loadRelease() {
  try {
    const release = await (await fetchApi("release")).json();
    categories = release.categories;
    state.showLacks(release.lacks ?? {});
    state.offerNewest(release.has_dates);
    const { photos, products } = release.counts ?? {};
    if (photos && products) {
      const number = (value) => value.toLocaleString();
      find("size").textContent = `${number(photos)} photos of ${number(products)} listings`;
    }
    const all = await browse();
    state.showCapabilities(Boolean(all));
    if (all) state.showRoots(all.categories, (path) => start({ filters: { ...filters.none(), categories: [path] } }));
    else filters.offer(categories, current?.filters ?? fromAddress()?.filters ?? filters.none());
  } catch (error) {
    find("categories").textContent = `Categories could not be loaded: ${error.message.toLowerCase()}.`;
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

async function showMore() {
  const before = current.hits.at(-1)?.product_id;
  current.limit += PAGE;
  await run();
  const last = hits.querySelector(`:scope > [data-product="${CSS.escape(before)}"]`);
  const cards = [...hits.querySelectorAll(":scope > [data-product]")];
  cards[cards.indexOf(last) + 1]?.querySelector("a, button")?.focus();
}

find("search").addEventListener("submit", (event) => {
  event.preventDefault();
  searchByWords();
});
find("remove").addEventListener("click", () => {
  start({ words: words.value.trim() });
  words.focus();
});
find("sort").addEventListener("change", ({ target }) => change({ sort: target.value }));
hits.addEventListener("click", (event) => {
  const link = event.target.closest("a.listing");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  searchByListing(link.parentElement.dataset.image, link.querySelector(".title").textContent);
});
more.addEventListener("click", showMore);

let typing;
const form = find("filter-form");
form.addEventListener("input", ({ target }) => {
  clearTimeout(typing);
  // Not while typing: a partial town name is another town, or none.
  if (target.id !== "near") typing = setTimeout(changeFilters, target.type === "number" ? 400 : 0);
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

onUpload(searchByFile);
offerSuggestions(words, find("suggestions"));

addEventListener("popstate", ({ state: entry }) => {
  leave();
  const search = searches.get(entry?.id);
  if (search) restore(search);
  else open();
});

function restore(search) {
  running.abort();
  current = search;
  const { scroll, focus } = search;
  state.showQuery(search);
  if (!search.hits) {
    run({ clear: true });
    return;
  }
  state.closePanels();
  show(search);
  const card = focus && hits.querySelector(`:scope > [data-product="${CSS.escape(focus)}"] a`);
  (card || find(search.photo ? "caption" : "results")).focus({ preventScroll: true });
  window.scrollTo(0, scroll);
}

// Show the search in the address, or the start page.
async function open() {
  const query = fromAddress();
  const here = location.href;
  // The address of a search by file has only the filters. Without text search, these are not a search.
  const empty = !query || (!query.like && !query.words && !(await browse().catch(() => true)));
  if (here !== location.href) return;
  if (empty) {
    running.abort();
    current = null;
    state.showStart();
    return;
  }
  start({ ...query, caption: query.like ? "Photo of a listing" : "" }, { push: false });
}

// ── Startup

history.scrollRestoration = "manual";
const wide = matchMedia("(min-width: 60rem)");
const showFilters = () => { find("filters").open = wide.matches; };
wide.addEventListener("change", showFilters);
showFilters();
open();
loadRelease();
