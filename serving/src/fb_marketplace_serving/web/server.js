// What the page asks of the server: keys, busy servers and errors are dealt with here.

const KEY = "fb-marketplace-key";
const LONGEST_WAIT_S = 60;

// What went wrong, in words: a title, what the server says of it, and what it is about:
// "photo", "filters", "key" or nothing of these; and the status of the answer, if there was one.
export class Trouble extends Error {
  constructor(title, detail = "", about = "", status = 0) {
    super(title);
    this.detail = detail;
    this.about = about;
    this.status = status;
  }
}

const MEANINGS = {
  401: ["This server needs a key", "key"],
  404: ["That photo is no longer on offer", "photo"],
  413: ["This photo is too large", "photo"],
  415: ["This file is not a photo that can be searched by", "photo"],
  422: ["This photo cannot be read", "photo"],
  429: ["Too many searches just now", ""],
  503: ["The server is busy", ""],
};

const keyHeaders = (key) => (key ? { "X-API-Key": key } : {});
const storedKey = () => sessionStorage.getItem(KEY);

let asking = null;

// All requests that are turned away meanwhile wait for the one key.
function newKey() {
  asking ??= askForKey().finally(() => { asking = null; });
  return asking;
}

function askForKey() {
  const find = (id) => document.getElementById(id);
  const [dialog, form, field, error] = ["key-dialog", "key-form", "key", "key-error"].map(find);
  field.value = "";
  error.textContent = storedKey() ? "The key used so far is not accepted any more." : "";
  sessionStorage.removeItem(KEY);
  dialog.showModal();
  return new Promise((resolve, reject) => {
    find("key-cancel").onclick = () => dialog.close();
    form.onsubmit = async (event) => {
      event.preventDefault();
      error.textContent = "Trying it…";
      const refusal = await refusalOf(field.value.trim());
      error.textContent = refusal;
      if (refusal) {
        field.select();
        field.focus();
        return;
      }
      sessionStorage.setItem(KEY, field.value.trim());
      dialog.close();
    };
    dialog.onclose = () => {
      if (storedKey()) resolve();
      else reject(new Trouble(MEANINGS[401][0], "Nothing can be searched without it.", "key"));
    };
  });
}

// Say why a key cannot be used; nothing where it can.
async function refusalOf(key) {
  if (!/^[\x21-\x7e]+$/.test(key)) return "A key has only letters, digits and signs, without spaces.";
  try {
    const { status } = await fetch("release", { headers: keyHeaders(key), cache: "no-store" });
    if (status === 401 || status === 403) return "This key is not accepted. Check it and try again.";
    return status < 400 ? "" : `The server answers ${status}. Try again in a moment.`;
  } catch {
    return "No answer from the server. Check the connection and try again.";
  }
}

// Ask the server once more where it says when, or where another key may help.
// `onWait` is told the seconds until it is asked again, and 0 when it is.
export async function ask(path, { signal, onWait = () => {}, ...init } = {}) {
  let waited = false;
  for (;;) {
    const key = storedKey();
    const response = await sent(path, { ...init, signal, headers: keyHeaders(key) });
    if (response.ok) return response;
    if (response.status === 401) {
      if (storedKey() === key) await newKey();
      signal?.throwIfAborted();
      continue;
    }
    const seconds = [429, 503].includes(response.status) ? secondsToWait(response) : null;
    if (waited || seconds === null || seconds > LONGEST_WAIT_S) throw await troubleOf(response);
    waited = true;
    await countDown(seconds, onWait, signal);
  }
}

async function sent(path, init) {
  try {
    return await fetch(path, init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble("No answer from the server", "Check the connection, then try again.");
  }
}

function secondsToWait(response) {
  const said = response.headers.get("Retry-After");
  if (said === null) return null;
  const seconds = /^\d+$/.test(said.trim()) ? Number(said) : (Date.parse(said) - Date.now()) / 1000;
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

async function troubleOf(response) {
  const { status } = response;
  const problem = await response.json().catch(() => null);
  const said = typeof problem?.detail === "string" ? problem.detail : `It answered ${status}.`;
  const fallback = [status >= 500 ? "The server failed" : "The server turned this away", ""];
  let meaning = MEANINGS[status] ?? fallback;
  // What is wrong with a photo has a type of its own.
  if (status === 422 && problem?.type === "about:blank") meaning = ["The server does not take these filters", "filters"];
  return new Trouble(meaning[0], said, meaning[1], status);
}

async function post(path, photo, options) {
  // A file that has gone since it was chosen would look like a server that does not answer.
  try {
    await photo.slice(0, 1).arrayBuffer();
  } catch {
    throw new Trouble("This file cannot be opened", "Is it a folder, or has it been moved or changed?", "photo");
  }
  const body = new FormData();
  body.append("image", photo, photo.name ?? "photo.jpg");
  return (await ask(path, { method: "POST", body, ...options })).json();
}

// Post a photo to one of the predictions, and give its answer.
export function predict(what, photo, query, options) {
  const asked = query?.toString();
  return post(asked ? `predict/${what}?${asked}` : `predict/${what}`, photo, options);
}

// Search by what the query says, and by a photo if there is one.
export async function search(query, photo, options) {
  const path = `search?${query}`;
  return photo ? post(path, photo, options) : (await ask(path, options)).json();
}

// Tell that a listing was opened from a search; whether it is noted is nothing to who opens it.
export function noteClick(searchId, productId) {
  const headers = { "Content-Type": "application/json", ...keyHeaders(storedKey()) };
  const body = JSON.stringify({ search_id: searchId, product_id: productId });
  fetch("clicks", { method: "POST", headers, body, keepalive: true }).catch(() => {});
}

export async function productOf(productId, options) {
  return (await ask(`products/${encodeURIComponent(productId)}`, options)).json();
}

// Give the photo of a listing, as a file.
export async function photoOf(imageId, options) {
  return (await ask(`images/${encodeURIComponent(imageId)}`, options)).blob();
}
