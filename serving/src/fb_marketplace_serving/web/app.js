// The page: what is looked for is said in words, by a photo or both, and the listings found are shown.

import { whenChosen } from "./choosing.js";
import * as filters from "./filters.js";
import { explain, findListings, firstLook, fromAddress, PAGE, toAddress } from "./finding.js";
import "./footer.js";
import * as screen from "./screen.js";
import { ask, photoOf, predict } from "./server.js";

const KEPT = 20; // searches that going back finds as they were

const find = (id) => document.getElementById(id);
const [file, words, hits, more] = ["file", "words", "hits", "more"].map(find);

// A search: what was asked, what was answered, and where the reader stood. One for each entry of the history.
const searches = new Map();
let current = null;
let running = new AbortController();
let categories = null;

// ── Starting a search

const NOTHING = {
  words: "", photo: null, like: null, caption: "", prediction: null, sort: "relevance", wanted: PAGE,
  scroll: 0, focus: null,
};
const UNANSWERED = { found: [], release: null, answer: null, hits: null, restarted: false, ended: false };

function begin(wanted, { push = true } = {}) {
  enter({ ...NOTHING, filters: current?.filters ?? fromAddress()?.filters ?? filters.none(), ...wanted }, push);
  window.scrollTo(0, 0);
  return look({ anew: true });
}

// Go on with the search, changed: what was found stays to be seen until the answer is there.
function change(changes, { push = true } = {}) {
  const { hits: before } = current;
  if (push) enter({ ...current, ...changes, wanted: PAGE }, true);
  else {
    Object.assign(current, UNANSWERED, changes, { wanted: PAGE });
    history.replaceState({ id: current.id }, "", toAddress(current));
  }
  screen.closePanels();
  return look({ anew: !before });
}

function enter(search, push) {
  leave();
  const id = crypto.randomUUID?.() ?? String(Math.random());
  current = { ...search, ...UNANSWERED, id };
  searches.set(id, current);
  if (searches.size > KEPT) searches.delete(searches.keys().next().value);
  history[push ? "pushState" : "replaceState"]({ id }, "", toAddress(current));
  screen.showQuery(current);
}

// Keep where the reader is, for when they come back.
function leave() {
  if (!current) return;
  current.scroll = window.scrollY;
  current.focus = document.activeElement?.closest?.("#hits > li")?.dataset.product ?? null;
}

function searchByFile(files) {
  const [chosen] = files;
  if (!chosen) return;
  const others = files.length - 1;
  const caption = others ? `${chosen.name}, the first of ${files.length}` : chosen.name;
  begin({ words: words.value.trim(), photo: chosen, caption });
}

function searchByWords() {
  const { photo, like, caption, prediction } = current ?? NOTHING;
  begin({ words: words.value.trim(), photo, like, caption, prediction });
}

function searchByListing(imageId, title) {
  begin({ like: imageId, caption: title });
  find("caption").focus({ preventScroll: true });
}

// ── Asking the server. The latest search wins: those before it are broken off.

async function look({ anew = false } = {}) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const mine = current;
  const options = { signal, onWait: screen.sayWaiting };
  screen.sayBusy(mine, anew ? PAGE : 0);
  try {
    if (mine.like && !mine.photo) {
      mine.photo = await photoOf(mine.like, options);
      if (mine === current) screen.showPhoto(mine);
    }
    await Promise.all([seeCategory(mine, options), seeListings(mine, options)]);
    if (!categories) loadRelease();
  } catch (error) {
    if (signal.aborted || mine !== current) return;
    running.abort(); // the other question of the two
    screen.sayTrouble(error, { again: lookAgain, another: () => file.click(), clear: clearFilters });
  }
}

async function seeCategory(mine, options) {
  if (!mine.photo) return;
  mine.prediction ??= await predict("image", mine.photo, null, options);
  if (mine === current) screen.showPrediction(mine);
}

async function seeListings(mine, options) {
  const found = await findListings(mine, options);
  if (mine !== current || options.signal.aborted) return;
  Object.assign(mine, found);
  if (found.itself) mine.caption = found.itself.title;
  screen.showMeans(Boolean(found.answer));
  if (!found.answer && mine.words) {
    mine.words = ""; // they did not count
    screen.showQuery(mine);
  }
  history.replaceState({ id: mine.id }, "", toAddress(mine)); // it may have had to start over
  show(mine);
}

function show(mine) {
  screen.showListings(mine, {
    clear: clearFilters,
    narrow: (changes) => change({ filters: { ...mine.filters, ...changes } }),
    explain: (productId) => explain(mine, productId),
  });
}

async function loadRelease() {
  try {
    const release = await (await ask("release")).json();
    categories = release.categories;
    const { photos, products } = release.counts ?? {};
    if (photos && products) {
      const number = (value) => value.toLocaleString();
      find("size").textContent = `${number(photos)} photos of ${number(products)} listings`;
    }
    const first = await firstLook();
    screen.showMeans(Boolean(first));
    if (first) screen.offerRoots(first.categories, (path) => begin({ filters: { ...filters.none(), categories: [path] } }));
    else filters.offer(categories, current?.filters ?? fromAddress()?.filters ?? filters.none());
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
  current.wanted += PAGE;
  await look();
  const last = hits.querySelector(`:scope > [data-product="${CSS.escape(before)}"]`);
  const cards = [...hits.querySelectorAll(":scope > [data-product]")];
  cards[cards.indexOf(last) + 1]?.querySelector("a, button")?.focus();
}

find("search").addEventListener("submit", (event) => {
  event.preventDefault();
  searchByWords();
});
find("remove").addEventListener("click", () => {
  begin({ words: words.value.trim() });
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
  // Half the name of a town is another town, or none.
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
  screen.closePanels();
  show(search);
  const card = focus && hits.querySelector(`:scope > [data-product="${CSS.escape(focus)}"] a`);
  (card || find(search.photo ? "caption" : "results")).focus({ preventScroll: true });
  window.scrollTo(0, scroll);
}

// Show what the address says: a search, or the start.
async function open() {
  const asked = fromAddress();
  const here = location.href;
  // Of a search by a file only the filters stand in the address: without words they are none by themselves.
  const nothing = !asked || (!asked.like && !asked.words && !(await firstLook().catch(() => true)));
  if (here !== location.href) return;
  if (nothing) {
    running.abort();
    current = null;
    screen.showStart();
    return;
  }
  begin({ ...asked, caption: asked.like ? "The photo of a listing" : "" }, { push: false });
}

// ── At the start

history.scrollRestoration = "manual";
const wide = matchMedia("(min-width: 60rem)");
const unfold = () => { find("filters").open = wide.matches; };
wide.addEventListener("change", unfold);
unfold();
open();
loadRelease();
