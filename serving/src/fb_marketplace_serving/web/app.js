// The page: a photo is chosen, its category and the listings most like it are shown.

import { whenChosen } from "./choosing.js";
import * as filters from "./filters.js";
import "./footer.js";
import * as screen from "./screen.js";
import { ask, photoOf, predict } from "./server.js";

const PAGE = 12;   // listings at first, and more at a time
const MOST = 100;  // photos, the API gives no more
const KEPT = 20;   // searches that going back finds as they were

const find = (id) => document.getElementById(id);
const [file, hits, more] = ["file", "hits", "more"].map(find);

// A search: its photo, what was answered, and where the reader stood. One for each entry of the history.
const searches = new Map();
let current = null;
let running = new AbortController();
let categories = null;

// ── Starting a search

function begin(wanted, { push = true } = {}) {
  leave();
  const id = crypto.randomUUID?.() ?? String(Math.random());
  current = {
    id, photo: null, like: null, caption: "", prediction: null, hits: null, all: false, ended: false,
    wanted: PAGE, scroll: 0, focus: null, filters: current?.filters ?? fromAddress(), ...wanted,
  };
  searches.set(id, current);
  if (searches.size > KEPT) searches.delete(searches.keys().next().value);
  history[push ? "pushState" : "replaceState"]({ id }, "", address(current));
  screen.showQuery(current);
  window.scrollTo(0, 0);
  return look({ anew: true });
}

// Keep where the reader is, for when they come back.
function leave() {
  if (!current) return;
  current.scroll = window.scrollY;
  current.focus = document.activeElement?.closest?.("#hits li")?.dataset.image ?? null;
}

function address({ like, filters: set }) {
  const query = filters.toQuery(set);
  if (like) query.set("like", like);
  return String(query) ? `?${query}` : location.pathname;
}

const fromAddress = () => filters.fromQuery(new URLSearchParams(location.search));

function searchByFile(files) {
  const [chosen] = files;
  if (!chosen) return;
  const others = files.length - 1;
  const caption = others ? `${chosen.name}, the first of ${files.length}` : chosen.name;
  begin({ photo: chosen, caption });
}

function searchByListing(imageId) {
  const hit = current?.hits?.find((each) => each.image_id === imageId);
  begin({ like: imageId, caption: hit?.title ?? "The photo of a listing" });
  find("caption").focus({ preventScroll: true });
}

// ── Asking the server. The latest search wins: those before it are broken off.

async function look({ anew = false } = {}) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const mine = current;
  const options = { signal, onWait: screen.sayWaiting };
  screen.sayBusy(anew ? PAGE : 0);
  try {
    if (!mine.photo) {
      mine.photo = await photoOf(mine.like, options);
      screen.showPhoto(mine);
    }
    await Promise.all([seeCategory(mine, options), findListings(mine, options)]);
    if (!categories) loadRelease();
  } catch (error) {
    if (signal.aborted || mine !== current) return;
    running.abort(); // the other question of the two
    screen.sayTrouble(error, { again: lookAgain, another: () => file.click(), clear: clearFilters });
  }
}

async function seeCategory(mine, options) {
  mine.prediction ??= await predict("image", mine.photo, null, options);
  if (mine === current) screen.showPrediction(mine);
}

async function findListings(mine, options) {
  const query = filters.toQuery(mine.filters);
  // The answer is photos, and a listing may have many: more are asked for than are shown.
  for (let k = Math.min(MOST, 2 * mine.wanted); ; k = Math.min(MOST, 2 * k)) {
    query.set("k", k);
    const { hits: photos } = await predict("similar_images", mine.photo, query, options);
    if (mine !== current || options.signal.aborted) return;
    const itself = photos.find((hit) => hit.image_id === mine.like);
    const listings = onceEach(photos, itself?.product_id);
    const none = photos.length < k;
    if (listings.length <= mine.wanted && !none && k < MOST) continue;
    if (itself) mine.caption = itself.title;
    mine.all = none && listings.length <= mine.wanted;
    mine.ended = listings.length <= mine.wanted;
    mine.hits = listings.slice(0, mine.wanted);
    screen.showListings(mine, clearFilters);
    return;
  }
}

// Give each listing once, by its photo that is most alike; not the one that is searched by.
function onceEach(photos, without) {
  const seen = new Set([without]);
  return photos.filter(({ product_id: id }) => !seen.has(id) && seen.add(id));
}

async function loadRelease() {
  try {
    const release = await (await ask("release")).json();
    categories = release.categories;
    filters.offer(categories, current?.filters ?? fromAddress());
    const { photos, products } = release.counts ?? {};
    if (photos && products) {
      const number = (value) => value.toLocaleString();
      find("size").textContent = `${number(photos)} photos of ${number(products)} listings`;
    }
  } catch (error) {
    find("categories").textContent = `The categories are not known: ${error.message.toLowerCase()}.`;
  }
}

// ── What the reader does

function lookAgain() {
  look({ anew: true });
  find("results").focus({ preventScroll: true }); // the button that had it is gone
}

function changeFilters() {
  const set = filters.read();
  if (!set || !current || JSON.stringify(set) === JSON.stringify(current.filters)) return;
  Object.assign(current, { filters: set, wanted: PAGE });
  filters.showCount(set);
  history.replaceState({ id: current.id }, "", address(current));
  look();
}

function clearFilters() {
  filters.write(filters.none());
  changeFilters();
  find("results").focus({ preventScroll: true });
}

async function showMore() {
  const before = current.hits.length;
  current.wanted = Math.min(MOST, current.wanted + PAGE);
  await look();
  hits.children[before]?.querySelector("a").focus();
}

hits.addEventListener("click", (event) => {
  const item = event.target.closest("li[data-image]");
  if (!item || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  searchByListing(item.dataset.image);
});
more.addEventListener("click", showMore);

let typing;
find("filter-form").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(changeFilters, event.target.type === "number" ? 400 : 0);
});
find("filter-form").addEventListener("submit", (event) => event.preventDefault());
find("filter-form").addEventListener("reset", (event) => {
  event.preventDefault();
  clearFilters();
});

whenChosen(searchByFile);

addEventListener("popstate", ({ state }) => {
  leave();
  const search = searches.get(state?.id);
  if (search) comeBack(search);
  else open();
});

function comeBack(search) {
  running.abort();
  current = search;
  const { scroll, focus } = search;
  screen.showQuery(search);
  if (!search.hits) {
    look({ anew: true });
    return;
  }
  screen.showListings(search, clearFilters);
  const card = focus && hits.querySelector(`[data-image="${CSS.escape(focus)}"] a`);
  (card || find("caption")).focus({ preventScroll: true });
  window.scrollTo(0, scroll);
}

// Show what the address says: the search by a listing, or the start.
function open() {
  const like = new URLSearchParams(location.search).get("like");
  if (!like) {
    running.abort();
    current = null;
    screen.showStart();
    return;
  }
  begin({ like, caption: "The photo of a listing", filters: fromAddress() }, { push: false });
}

// ── At the start

history.scrollRestoration = "manual";
const wide = matchMedia("(min-width: 60rem)");
const unfold = () => { find("filters").open = wide.matches; };
wide.addEventListener("change", unfold);
unfold();
open();
loadRelease();
