// Runs searches: by text and photo, or by photo alone if the release has no text search.

import { ApiError, predict, search } from "./api.js";
import * as filters from "./filters.js";
import { fromText } from "./photo.js";
import { text } from "./text.js";

export const PAGE = 24;   // listings per page
const MAX_LIMIT = 100;    // of one request
const MAX_PAGES = 20;     // that an address may request
const SORTS = ["newest", "price_asc", "price_desc", "distance"];
const IGNORABLE = ["spelling", "price", "place"]; // that the page offers to ignore

// ── Address: the part of a search that survives a reload, and that a link shares

export function toAddress({ words, like, photo, photoText, sort, limit, filters: set, ignored, home }) {
  const query = new URLSearchParams();
  // Without a photo, an empty query returns all listings.
  if (words || !(like || photo || home)) query.set("q", words);
  for (const [name, value] of filters.toQuery(set)) query.append(name, value);
  for (const kind of ignored) query.append("ignore", kind);
  if (like) query.set("like", like);
  if (sort !== "relevance" && !home) query.set("sort", sort);
  if (limit > PAGE) query.set("page", Math.ceil(limit / PAGE));
  return (String(query) ? `?${query}` : location.pathname) + (photoText ? `#photo=${photoText}` : "");
}

// Return the search of the address. Without words, photo and filters it is the start page.
export function fromAddress() {
  const query = new URLSearchParams(location.search);
  const set = filters.fromQuery(query);
  const like = query.get("like");
  const given = location.hash.match(/^#photo=([\w-]+)$/)?.[1] ?? null;
  const photo = given && fromText(given);
  const page = Math.min(MAX_PAGES, Math.max(1, Number.parseInt(query.get("page") ?? "1", 10) || 1));
  return {
    home: !like && !photo && !query.has("q") && !filters.count(set),
    words: (query.get("q") ?? "").trim(),
    like,
    photo,
    photoText: photo && given,
    sort: SORTS.find((name) => name === query.get("sort")) ?? "relevance",
    limit: page * PAGE,
    filters: set,
    ignored: query.getAll("ignore").filter((kind) => IGNORABLE.includes(kind)),
  };
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

// Null if the release has no text search, and the query has no words and no photo.
export async function findListings(query, options) {
  const results = await orNull(searchPages(query, options));
  if (results) return results;
  if (query.photo) return searchByPhoto(query, options);
  if (!query.words) return null;
  throw new ApiError(text("error_photo_only"), text("error_photo_only_hint"), "words");
}

function parameters({ words, completed, sort, filters: set, ignored }) {
  const query = filters.toQuery(set);
  if (words) query.set("q", completed ?? words);
  for (const kind of ignored) query.append("ignore", kind);
  // Sorting by distance requires a place.
  if (sort !== "relevance" && (sort !== "distance" || set.near)) query.set("sort", sort);
  return query;
}

// Append pages to the loaded ones. Pages of two releases are never mixed: if the listings on the page are of an older
// release, nothing but `stale` is returned.
async function searchPages(query, options) {
  let { loaded, release } = query;
  const { limit } = query;
  const extra = query.like ? 1 : 0; // the listing searched by is a hit, but hidden
  for (;;) {
    const page = parameters(query);
    page.set("limit", Math.min(MAX_LIMIT, Math.max(1, limit + extra - loaded.length)));
    if (loaded.length) page.set("offset", loaded.length);
    const response = await search(page, query.photo, options);
    if (loaded.length && response.release !== release) {
      if (query.hits) return { stale: true };
      loaded = [];
      continue;
    }
    release = response.release;
    // Each page has its own search id for clicks.
    loaded = [...loaded, ...response.hits.map((hit) => ({ ...hit, search_id: response.search_id }))];
    const done = loaded.length >= response.total || !response.hits.length;
    if (done || loaded.length >= limit + extra) return toResults(query, { loaded, release, response, done });
  }
}

function toResults({ like, limit }, { loaded, release, response, done }) {
  const itself = loaded.find((hit) => like && hit.image_id === like);
  const hits = uniqueListings(loaded, itself?.product_id).slice(0, limit);
  const total = response.total - (itself ? 1 : 0);
  const ended = done && hits.length >= Math.min(total, uniqueListings(loaded, itself?.product_id).length);
  return { loaded, release, response, hits, total, itself, ended, stale: false };
}

// Fetch a hit with the explanation of its score.
export async function explain(query, productId, options) {
  const page = parameters(query);
  page.set("limit", 1);
  page.set("offset", query.loaded.findIndex((hit) => hit.product_id === productId));
  page.set("explain", "true");
  const { release, hits: [hit] } = await search(page, query.photo, options);
  if (release === query.release && hit?.product_id === productId) return hit;
  throw new ApiError(text("error_changed"), text("error_changed_hint"));
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
    return { hits: listings.slice(0, query.limit), response: null, itself, ended, stale: false, complete: exhausted && ended };
  }
}

// Keep the first hit of each listing, except one listing.
function uniqueListings(photos, excluded) {
  const ids = new Set([excluded]);
  return photos.filter(({ product_id: id }) => !ids.has(id) && ids.add(id));
}
