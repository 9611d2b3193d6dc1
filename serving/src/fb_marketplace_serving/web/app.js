// The page: a photo is chosen, its category and the listings most like it are shown.

import { whenChosen } from "./choosing.js";
import * as filters from "./filters.js";
import "./footer.js";
import { growth } from "./letterbox.js";
import { showCards, showCategory, showPlaceholders } from "./listings.js";
import { ask, photoOf, predict } from "./server.js";
import { button, inWords } from "./trouble.js";

const PAGE = 12;   // listings at first, and more at a time
const MOST = 100;  // the API gives no more
const KEPT = 20;   // searches that going back finds as they were

const find = (id) => document.getElementById(id);
const [file, photo, status, trouble, hits, more] =
  ["file", "photo", "status", "trouble", "hits", "more"].map(find);

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
    id, photo: null, like: null, caption: "", prediction: null, hits: null, ended: false,
    wanted: PAGE, scroll: 0, focus: null, filters: current?.filters ?? fromAddress(), ...wanted,
  };
  searches.set(id, current);
  if (searches.size > KEPT) searches.delete(searches.keys().next().value);
  history[push ? "pushState" : "replaceState"]({ id }, "", address(current));
  showQuery();
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
  const options = { signal, onWait: sayWaiting };
  sayBusy(anew);
  try {
    if (!mine.photo) {
      mine.photo = await photoOf(mine.like, options);
      showPhoto(mine.photo);
    }
    await Promise.all([seeCategory(mine, options), findListings(mine, options)]);
    if (!categories) loadRelease();
  } catch (error) {
    if (signal.aborted || mine !== current) return;
    running.abort(); // the other question of the two
    sayTrouble(error);
  }
}

async function seeCategory(mine, options) {
  mine.prediction ??= await predict("image", mine.photo, null, options);
  if (mine === current) showPrediction();
}

async function findListings(mine, options) {
  const query = filters.toQuery(mine.filters);
  // A listing's own photo would come first in its own search: one more is asked for, and left out.
  query.set("k", Math.min(MOST, mine.wanted + (mine.like ? 1 : 0)));
  const answer = await predict("similar_images", mine.photo, query, options);
  if (mine !== current || options.signal.aborted) return;
  const itself = answer.hits.find((hit) => hit.image_id === mine.like);
  if (itself) mine.caption = itself.title;
  mine.hits = answer.hits.filter((hit) => hit !== itself).slice(0, mine.wanted);
  mine.ended = mine.hits.length < mine.wanted || mine.wanted >= MOST;
  showListings();
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

// ── Saying how it stands

function sayBusy(anew) {
  trouble.replaceChildren();
  find("results").hidden = false;
  hits.setAttribute("aria-busy", "true"); // of the list only: what is busy may not be read out
  more.hidden = true;
  status.textContent = "Looking for listings like it…";
  if (anew) showPlaceholders(hits, PAGE);
}

function sayWaiting(seconds) {
  // Every second would be too much to be read out.
  if (seconds === 0) status.textContent = "Asking again…";
  else if (!status.textContent.startsWith("The server is busy")) {
    status.textContent = `The server is busy. It will be asked again in ${seconds} s.`;
  }
}

function idle() {
  hits.removeAttribute("aria-busy");
}

function sayTrouble(error) {
  idle();
  status.textContent = "";
  hits.replaceChildren();
  more.hidden = true;
  trouble.replaceChildren(...inWords(error, {
    again: () => {
      look({ anew: true });
      find("results").focus({ preventScroll: true }); // the button that had it is gone
    },
    another: () => file.click(),
    clear: clearFilters,
  }));
}

// ── Showing a search

function showQuery() {
  document.body.classList.remove("before");
  find("filters").hidden = false;
  find("choose").textContent = "Another photo";
  find("welcome").textContent = "Your photo";
  filters.write(current.filters);
  find("caption").textContent = current.caption;
  showPhoto(current.photo);
  showPrediction();
}

function showPhoto(shown) {
  URL.revokeObjectURL(photo.src);
  find("no-preview").hidden = true;
  photo.hidden = !shown;
  if (!shown) return;
  photo.alt = `The photo searched by: ${current.caption}`;
  photo.src = URL.createObjectURL(shown);
  photo.style.transform = "";
  growth(shown).then((scale) => {
    if (current?.photo === shown) photo.style.transform = `scale(${scale})`;
  }, () => {}); // what cannot be decoded has no preview
}

function showPrediction() {
  find("seen").hidden = !current.prediction;
  if (current.prediction) showCategory(find("category"), find("probabilities"), current.prediction);
}

function showListings() {
  idle();
  trouble.replaceChildren();
  find("caption").textContent = current.caption;
  filters.showCount(current.filters);
  showCards(hits, current.hits);
  more.hidden = current.ended;
  const found = current.hits.length;
  const set = filters.count(current.filters) > 0;
  if (found) {
    const all = current.ended && found < MOST ? ", all there are" : "";
    status.textContent = `${found} ${found === 1 ? "listing" : "listings"}${all}${set ? " under these filters" : ""}, most alike first.`;
    return;
  }
  status.textContent = set ? "No listing is left under these filters." : "There are no listings to search.";
  if (set) trouble.replaceChildren(button("Clear filters", clearFilters));
}

function showStart() {
  running.abort();
  current = null;
  document.body.classList.add("before");
  for (const id of ["results", "filters", "seen", "photo", "no-preview"]) find(id).hidden = true;
  find("choose").textContent = "Choose a photo";
  find("welcome").textContent = "Find listings by photo";
  find("caption").textContent = "";
}

// ── What the reader does

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

photo.addEventListener("error", () => {
  photo.hidden = true;
  find("no-preview").hidden = false;
});

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
  showQuery();
  if (!search.hits) {
    look({ anew: true });
    return;
  }
  find("results").hidden = false;
  showListings();
  const card = focus && hits.querySelector(`[data-image="${CSS.escape(focus)}"] a`);
  (card || find("caption")).focus({ preventScroll: true });
  window.scrollTo(0, scroll);
}

// Show what the address says: the search by a listing, or the start.
function open() {
  const like = new URLSearchParams(location.search).get("like");
  if (!like) {
    showStart();
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
