// Runs searches: by text and photo, or by photo alone if the release has no text search.

import { ApiError, predict, search } from "./api.js";
import * as filters from "./filters.js";

export const PAGE = 12;   // listings per page
const MAX_LIMIT = 100;    // of one request
const MAX_PAGES = 50;     // that an address may request
const IGNORABLE = ["spelling", "price", "place"]; // that the page offers to ignore

// ── Address: the part of a search that survives a reload

export function toAddress({ words, like, photo, sort, limit, filters: set, ignored }) {
  const query = new URLSearchParams();
  // A file cannot be in an address. Without a photo, an empty query returns all listings.
  if (words || !(like || photo)) query.set("q", words);
  for (const [name, value] of filters.toQuery(set)) query.append(name, value);
  for (const kind of ignored) query.append("ignore", kind);
  if (like) query.set("like", like);
  if (sort !== "relevance") query.set("sort", sort);
  if (limit > PAGE) query.set("page", Math.ceil(limit / PAGE));
  return String(query) ? `?${query}` : location.pathname;
}

// Return the search of the address, or null if it has none.
export function fromAddress() {
  const query = new URLSearchParams(location.search);
  const set = filters.fromQuery(query);
  const like = query.get("like");
  if (!like && !query.has("q") && !filters.count(set)) return null;
  const page = Math.min(MAX_PAGES, Math.max(1, Number.parseInt(query.get("page") ?? "1", 10) || 1));
  const sort = ["newest", "price_asc", "price_desc", "distance"].find((name) => name === query.get("sort")) ?? "relevance";
  const ignored = query.getAll("ignore").filter((kind) => IGNORABLE.includes(kind));
  return { words: (query.get("q") ?? "").trim(), like, sort, limit: page * PAGE, filters: set, ignored };
}

// ── Capabilities of the release

let all = null;

// Return a search of all listings, or null if the release has no text search.
export function browse() {
  all ??= orNull(search(new URLSearchParams({ limit: 1 }))).catch((error) => {
    all = null; // try again next time
    throw error;
  });
  return all;
}

async function orNull(request) {
  try {
    return await request;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

// ── Searches. Each returns the changed fields of a search.

export async function findListings(query, options) {
  if (await browse()) {
    const results = await orNull(searchPages(query, options));
    if (results) return results;
    all = Promise.resolve(null); // a release without text search was published
  }
  if (query.photo) return searchByPhoto(query, options);
  throw new ApiError("This release supports photo search only", "It was built without text search.", "words");
}

function parameters({ words, sort, filters: set, ignored }) {
  const query = filters.toQuery(set);
  if (words) query.set("q", words);
  for (const kind of ignored) query.append("ignore", kind);
  // Sorting by distance requires a place.
  if (sort !== "relevance" && (sort !== "distance" || set.near)) query.set("sort", sort);
  return query;
}

// Append pages to the loaded ones, as long as they are of the same release.
async function searchPages(query, options) {
  let { loaded, release, limit } = query;
  let restarted = false;
  const extra = query.like ? 1 : 0; // the listing searched by is a hit, but hidden
  for (;;) {
    const page = parameters(query);
    page.set("limit", Math.min(MAX_LIMIT, Math.max(1, limit + extra - loaded.length)));
    if (loaded.length) page.set("offset", loaded.length);
    const response = await search(page, query.photo, options);
    if (release && response.release !== release) {
      restarted = true;
      limit = PAGE;
      if (loaded.length) {
        loaded = [];
        release = response.release;
        continue;
      }
    }
    release = response.release;
    // Each page has its own search id for clicks.
    loaded = [...loaded, ...response.hits.map((hit) => ({ ...hit, search_id: response.search_id }))];
    const done = loaded.length >= response.total || !response.hits.length;
    if (done || loaded.length >= limit + extra) {
      return toResults(query, { loaded, release, limit, restarted, response });
    }
  }
}

function toResults({ like }, { loaded, limit, response, ...rest }) {
  const itself = loaded.find((hit) => like && hit.image_id === like);
  const others = loaded.filter((hit) => hit !== itself);
  const total = response.total - (itself ? 1 : 0);
  const hits = others.slice(0, limit);
  return { ...rest, loaded, limit, response, hits, total, itself, ended: hits.length >= total };
}

// Fetch a hit with the explanation of its score.
export async function explain(query, productId, options) {
  const page = parameters(query);
  page.set("limit", 1);
  page.set("offset", query.loaded.findIndex((hit) => hit.product_id === productId));
  page.set("explain", "true");
  const { release, hits: [hit] } = await search(page, query.photo, options);
  if (release === query.release && hit?.product_id === productId) return hit;
  throw new ApiError("The listings have changed", "Search again to explain this hit.");
}

// Search by photo in a release without text search: similar photos, one per listing.
async function searchByPhoto(query, options) {
  const { categories, min, max } = query.filters;
  const page = filters.toQuery({ ...filters.none(), categories, min, max });
  // A listing may have several photos: request more photos than listings.
  for (let limit = Math.min(MAX_LIMIT, 2 * query.limit); ; limit = Math.min(MAX_LIMIT, 2 * limit)) {
    page.set("limit", limit);
    const { hits: photos } = await predict("similar_images", query.photo, page, options);
    const itself = photos.find((hit) => hit.image_id === query.like);
    const listings = uniqueListings(photos, itself?.product_id);
    const exhausted = photos.length < limit;
    if (listings.length <= query.limit && !exhausted && limit < MAX_LIMIT) continue;
    const ended = listings.length <= query.limit;
    return { hits: listings.slice(0, query.limit), response: null, itself, ended, complete: exhausted && ended };
  }
}

// Keep the most similar photo of each listing, except one listing.
function uniqueListings(photos, excluded) {
  const ids = new Set([excluded]);
  return photos.filter(({ product_id: id }) => !ids.has(id) && ids.add(id));
}
