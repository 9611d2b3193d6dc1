// API client. Handles keys, retries and errors.

const KEY = "fb-marketplace-key";
const MAX_WAIT_S = 60;

// An error to show: title, the server's detail, its cause ("photo", "filters", "key", "words" or "")
// and the HTTP status, if any.
export class ApiError extends Error {
  constructor(title, detail = "", cause = "", status = 0) {
    super(title);
    this.detail = detail;
    this.cause = cause;
    this.status = status;
  }
}

const ERRORS = {
  401: ["This server needs a key", "key"],
  404: ["That photo is no longer available", "photo"],
  413: ["This photo is too large", "photo"],
  415: ["This file is not a supported photo", "photo"],
  422: ["This photo cannot be read", "photo"],
  429: ["Too many searches", ""],
  503: ["The server is busy", ""],
};

const keyHeaders = (key) => (key ? { "X-API-Key": key } : {});
const storedKey = () => sessionStorage.getItem(KEY);

let prompt = null;

// All rejected requests wait for the same prompt.
function newKey() {
  prompt ??= promptForKey().finally(() => { prompt = null; });
  return prompt;
}

function promptForKey() {
  const find = (id) => document.getElementById(id);
  const [dialog, form, field, error] = ["key-dialog", "key-form", "key", "key-error"].map(find);
  field.value = "";
  error.textContent = storedKey() ? "The current key is no longer accepted." : "";
  sessionStorage.removeItem(KEY);
  dialog.showModal();
  return new Promise((resolve, reject) => {
    find("key-cancel").onclick = () => dialog.close();
    form.onsubmit = async (event) => {
      event.preventDefault();
      error.textContent = "Checking…";
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
      else reject(new ApiError(ERRORS[401][0], "Searching requires a key.", "key"));
    };
  });
}

// Return why a key is rejected, or "" if it is accepted.
async function keyError(key) {
  if (!/^[\x21-\x7e]+$/.test(key)) return "A key has letters, digits and symbols only, without spaces.";
  try {
    const { status } = await fetch("release", { headers: keyHeaders(key), cache: "no-store" });
    if (status === 401 || status === 403) return "This key is not accepted. Check it and try again.";
    return status < 400 ? "" : `The server returned ${status}. Try again in a moment.`;
  } catch {
    return "No answer from the server. Check the connection and try again.";
  }
}

// Send a request. Retries once after Retry-After, and with a new key after a 401.
// `onWait` is called with the seconds until the retry, and with 0 when it is sent.
export async function fetchApi(path, { signal, onWait = () => {}, ...init } = {}) {
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
    if (waited || seconds === null || seconds > MAX_WAIT_S) throw await toError(response);
    waited = true;
    await countDown(seconds, onWait, signal);
  }
}

async function send(path, init) {
  try {
    return await fetch(path, init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("No answer from the server", "Check the connection, then try again.");
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

async function toError(response) {
  const { status } = response;
  const problem = await response.json().catch(() => null);
  const detail = typeof problem?.detail === "string" ? problem.detail : `Status ${status}.`;
  const fallback = [status >= 500 ? "The server failed" : "The request was rejected", ""];
  let error = ERRORS[status] ?? fallback;
  // Photo errors have their own problem types.
  if (status === 422 && problem?.type === "about:blank") error = ["Invalid filters", "filters"];
  return new ApiError(error[0], detail, error[1], status);
}

async function post(path, photo, options) {
  // A file deleted since it was chosen would look like a network error.
  try {
    await photo.slice(0, 1).arrayBuffer();
  } catch {
    throw new ApiError("This file cannot be opened", "Is it a folder, or has it been moved or changed?", "photo");
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
export async function suggest(text, signal) {
  const response = await fetch(`suggest?${new URLSearchParams({ q: text })}`, { headers: keyHeaders(storedKey()), signal });
  return response.ok ? (await response.json()).suggestions : [];
}

// Record that a listing was opened from a search. Failures are ignored.
export function recordClick(searchId, productId) {
  const headers = { "Content-Type": "application/json", ...keyHeaders(storedKey()) };
  const body = JSON.stringify({ search_id: searchId, product_id: productId });
  fetch("clicks", { method: "POST", headers, body, keepalive: true }).catch(() => {});
}

export async function fetchProduct(productId, options) {
  return (await fetchApi(`products/${encodeURIComponent(productId)}`, options)).json();
}

// Fetch the photo of a listing as a blob.
export async function fetchPhoto(imageId, options) {
  return (await fetchApi(`images/${encodeURIComponent(imageId)}`, options)).blob();
}
