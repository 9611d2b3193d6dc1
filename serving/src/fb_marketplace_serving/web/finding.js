// Finds the listings of a search: by words and photo, or by photo alone where a release knows no words.

import * as filters from "./filters.js";
import { predict, search, Trouble } from "./server.js";

export const PAGE = 12;   // listings at first, and more at a time
const MOST = 100;         // the API gives no more at once
const MOST_PAGES = 50;    // that an address may ask for

// ── The address: what of a search a reload finds again

export function toAddress({ words, like, photo, sort, wanted, filters: set }) {
  const query = new URLSearchParams();
  // A file cannot stand in an address; without one, empty words are a search for all there is.
  if (words || !(like || photo)) query.set("q", words);
  for (const [name, value] of filters.toQuery(set)) query.append(name, value);
  if (like) query.set("like", like);
  if (sort !== "relevance") query.set("sort", sort);
  if (wanted > PAGE) query.set("page", Math.ceil(wanted / PAGE));
  return String(query) ? `?${query}` : location.pathname;
}

// Give the search of an address, or nothing where it has none.
export function fromAddress() {
  const query = new URLSearchParams(location.search);
  const set = filters.fromQuery(query);
  const like = query.get("like");
  if (!like && !query.has("q") && !filters.count(set)) return null;
  const page = Math.min(MOST_PAGES, Math.max(1, Number.parseInt(query.get("page") ?? "1", 10) || 1));
  const sort = ["price_asc", "price_desc", "distance"].find((each) => each === query.get("sort")) ?? "relevance";
  return { words: (query.get("q") ?? "").trim(), like, sort, wanted: page * PAGE, filters: set };
}

// ── What is served

let first = null;

// Give an answer of all listings; null where the release cannot be searched by words.
export function firstLook() {
  first ??= orNull(search(new URLSearchParams({ limit: 1 }))).catch((error) => {
    first = null; // to be asked anew
    throw error;
  });
  return first;
}

async function orNull(asked) {
  try {
    return await asked;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

// ── Finding. Each gives what changes of a search, or nothing where `signal` broke it off.

export async function findListings(mine, options) {
  if (await firstLook()) {
    const found = await orNull(ranked(mine, options));
    if (found) return found;
    first = Promise.resolve(null); // a release went into force that knows no words
  }
  if (mine.photo) return byPhotoAlone(mine, options);
  throw new Trouble("Listings can only be searched by photo just now",
    "The release that is served holds nothing to search by words with.", "words");
}

// Give the parameters of a search, as the API takes them.
function parameters({ words, sort, filters: set }) {
  const query = filters.toQuery(set);
  if (words) query.set("q", words);
  // Without a place there is no distance.
  if (sort !== "relevance" && (sort !== "distance" || set.near)) query.set("sort", sort);
  return query;
}

// Go on from the pages that are there, as long as they are of the release that answers.
async function ranked(mine, options) {
  let { found, release, wanted } = mine;
  let restarted = false;
  for (;;) {
    // The listing that is searched by is like itself, and not shown.
    const needed = wanted + (mine.like ? 1 : 0) - found.length;
    const query = parameters(mine);
    query.set("limit", Math.min(MOST, Math.max(1, needed)));
    if (found.length) query.set("offset", found.length);
    const answer = await search(query, mine.photo, options);
    if (release && answer.release !== release) {
      restarted = true;
      wanted = PAGE;
      if (found.length) {
        found = [];
        release = answer.release;
        continue;
      }
    }
    release = answer.release;
    // Each page of a search is told clicks by its own id.
    found = [...found, ...answer.hits.map((hit) => ({ ...hit, search_id: answer.search_id }))];
    const done = found.length >= answer.total || !answer.hits.length;
    if (done || found.length >= wanted + (mine.like ? 1 : 0)) return shown(mine, { found, release, wanted, restarted, answer });
  }
}

function shown({ like }, { found, wanted, answer, ...rest }) {
  const itself = found.find((hit) => like && hit.image_id === like);
  const others = found.filter((hit) => hit !== itself);
  const total = answer.total - (itself ? 1 : 0);
  const hits = others.slice(0, wanted);
  return { ...rest, found, wanted, answer, hits, total, itself, ended: hits.length >= total };
}

// Ask for the score of a hit to be taken apart.
export async function explain(mine, productId, options) {
  const at = mine.found.findIndex((hit) => hit.product_id === productId);
  const query = parameters(mine);
  query.set("limit", 1);
  query.set("offset", at);
  query.set("explain", "true");
  const { release, hits: [hit] } = await search(query, mine.photo, options);
  if (release === mine.release && hit?.product_id === productId && hit.why) return hit;
  throw new Trouble("The listings have changed meanwhile", "Search again to see why this one is here.");
}

// As it was before there were words: photos that are alike, by their listings.
async function byPhotoAlone(mine, options) {
  const { categories, min, max } = mine.filters;
  const query = filters.toQuery({ ...filters.none(), categories, min, max });
  // The answer is photos, and a listing may have many: more are asked for than are shown.
  for (let k = Math.min(MOST, 2 * mine.wanted); ; k = Math.min(MOST, 2 * k)) {
    query.set("limit", k);
    const { hits: photos } = await predict("similar_images", mine.photo, query, options);
    const itself = photos.find((hit) => hit.image_id === mine.like);
    const listings = onceEach(photos, itself?.product_id);
    const none = photos.length < k;
    if (listings.length <= mine.wanted && !none && k < MOST) continue;
    const ended = listings.length <= mine.wanted;
    return { hits: listings.slice(0, mine.wanted), answer: null, itself, ended, all: none && ended };
  }
}

// Give each listing once, by its photo that is most alike; not the one that is searched by.
function onceEach(photos, without) {
  const seen = new Set([without]);
  return photos.filter(({ product_id: id }) => !seen.has(id) && seen.add(id));
}
