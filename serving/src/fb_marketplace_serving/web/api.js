// API client. Handles keys, retries and errors.

import { find } from "./dom.js";
import { text } from "./text.js";

const KEY = "fb-marketplace-key";
const MAX_WAIT_S = 60;

// An error to show: title, the server's detail, its cause ("photo", "filters", "key", "words", "network" or ""), the
// HTTP status, if any, and the seconds until a retry, if the server is busy.
export class ApiError extends Error {
  constructor(title, detail = "", cause = "", status = 0, seconds = null) {
    super(title);
    this.detail = detail;
    this.cause = cause;
    this.status = status;
    this.seconds = seconds;
  }
}

const CAUSES = { 401: "key", 404: "photo", 413: "photo", 415: "photo", 422: "photo", 429: "", 503: "" };

const keyHeaders = (key) => (key ? { "X-API-Key": key } : {});
const storedKey = () => sessionStorage.getItem(KEY);
export const hasKey = () => storedKey() !== null;
export const photoUrl = (imageId, size = 256) =>
  `images/${encodeURIComponent(imageId)}${size === 256 ? "" : `?size=${size}`}`;

let prompt = null;

// All rejected requests wait for the same prompt.
function newKey() {
  prompt ??= promptForKey().finally(() => { prompt = null; });
  return prompt;
}

function promptForKey() {
  const [dialog, form, field, error] = ["key-dialog", "key-form", "key", "key-error"].map(find);
  field.value = "";
  error.textContent = storedKey() ? text("key_expired") : "";
  sessionStorage.removeItem(KEY);
  dialog.showModal();
  return new Promise((resolve, reject) => {
    find("key-cancel").onclick = () => dialog.close();
    form.onsubmit = async (event) => {
      event.preventDefault();
      error.textContent = text("key_checking");
      const message = await keyError(field.value.trim());
      error.textContent = message;
      if (message) {
        field.select();
        field.focus();
        return;
      }
      sessionStorage.setItem(KEY, field.value.trim());
      dialog.close();
    };
    dialog.onclose = () => {
      if (storedKey()) resolve();
      else reject(new ApiError(text("error_401"), text("key_required"), "key"));
    };
  });
}

// Return why a key is rejected, or "" if it is accepted.
async function keyError(key) {
  if (!/^[\x21-\x7e]+$/.test(key)) return text("key_malformed");
  try {
    const { status } = await fetch("release", { headers: keyHeaders(key), cache: "no-store" });
    if (status === 401 || status === 403) return text("key_rejected");
    return status < 400 ? "" : text("key_unchecked", { status: String(status) });
  } catch {
    return text("key_no_answer");
  }
}

// Send a request. Retries once after Retry-After, and with a new key after a 401.
// `onWait` is called with the seconds until the retry, and with 0 when it is sent; without it, there is no retry.
export async function fetchApi(path, { signal, onWait = null, ...init } = {}) {
  let waited = false;
  for (;;) {
    const key = storedKey();
    const response = await send(path, { ...init, signal, headers: keyHeaders(key) });
    if (response.ok) return response;
    if (response.status === 401) {
      if (storedKey() === key) await newKey();
      signal?.throwIfAborted();
      continue;
    }
    const seconds = [429, 503].includes(response.status) ? secondsToWait(response) : null;
    if (waited || !onWait || seconds === null || seconds > MAX_WAIT_S) throw await toError(response, seconds);
    waited = true;
    await countDown(seconds, onWait, signal);
  }
}

async function send(path, init) {
  try {
    return await fetch(path, init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(text("no_answer"), text("check_connection"), "network");
  }
}

function secondsToWait(response) {
  const value = response.headers.get("Retry-After");
  if (value === null) return null;
  const seconds = /^\d+$/.test(value.trim()) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? null : Math.max(1, Math.ceil(seconds));
}

async function countDown(seconds, onWait, signal) {
  for (let left = seconds; left > 0; left -= 1) {
    onWait(left);
    await new Promise((resolve) => { setTimeout(resolve, 1000); });
    signal?.throwIfAborted();
  }
  onWait(0);
}

async function toError(response, seconds) {
  const { status } = response;
  const problem = await response.json().catch(() => null);
  const detail = typeof problem?.detail === "string" ? problem.detail : text("status", { status: String(status) });
  // Photo errors have their own problem types.
  if (status === 422 && problem?.type === "about:blank") return new ApiError(text("error_filters"), detail, "filters", status);
  const key = status in CAUSES ? `error_${status}` : status >= 500 ? "error_server" : "error_rejected";
  return new ApiError(text(key), detail, CAUSES[status] ?? "", status, seconds);
}

async function post(path, photo, options) {
  // A file deleted since it was chosen would look like a network error.
  try {
    await photo.slice(0, 1).arrayBuffer();
  } catch {
    throw new ApiError(text("error_file"), text("error_file_hint"), "photo");
  }
  const body = new FormData();
  body.append("image", photo, photo.name ?? "photo.jpg");
  return (await fetchApi(path, { method: "POST", body, ...options })).json();
}

// Post a photo to a prediction route.
export function predict(route, photo, query, options) {
  const suffix = query ? `?${query}` : "";
  return post(`predict/${route}${suffix}`, photo, options);
}

// Search by parameters and an optional photo.
export async function search(query, photo, options) {
  const path = `search?${query}`;
  return photo ? post(path, photo, options) : (await fetchApi(path, options)).json();
}

// Return completions of a search text. A server without a key or text search gives none: it must not interrupt typing.
export async function suggest(typed, signal) {
  const response = await fetch(`suggest?${new URLSearchParams({ q: typed, limit: 6 })}`, { headers: keyHeaders(storedKey()), signal });
  return response.ok ? (await response.json()).suggestions : [];
}

// Record that a listing was opened from a search. Failures are ignored.
export function recordClick(searchId, productId) {
  const headers = { "Content-Type": "application/json", ...keyHeaders(storedKey()) };
  const body = JSON.stringify({ search_id: searchId, product_id: productId });
  fetch("clicks", { method: "POST", headers, body, keepalive: true }).catch(() => {});
}

// Fetch the photo of a listing as a blob.
export async function fetchPhoto(imageId, { size, ...options } = {}) {
  return (await fetchApi(photoUrl(imageId, size), options)).blob();
}
