// Entry point of the page of a listing. The server renders the listing; this adds what needs requests or keys.

import { ApiError, fetchApi, fetchPhoto, hasKey, search } from "./api.js";
import { elementsOrError } from "./detail.js";
import { element, find, toast } from "./dom.js";
import { card } from "./listings.js";
import { fromText } from "./photo.js";
import { age, money, text } from "./text.js";

const MAX_SIMILAR = 12;

const path = location.pathname.slice(new URL(document.baseURI).pathname.length); // from the search page
const query = new URLSearchParams(location.search);
const place = query.get("at"); // among the hits of the search that led here
query.delete("at");

async function start() {
  offerReturn();
  try {
    if (document.querySelector("[data-status='401']")) await unlock();
    const article = document.querySelector("article");
    if (!article) return; // an unknown listing
    format(article);
    offerZoom(await photoLinks(article));
    offerShare(article);
    offerExplanation(article.dataset.product);
    await showSimilar(article.dataset.product);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    find("error").textContent = `${error.message}. ${error.detail}`;
  }
}

// Load the listing with a key, which a browser does not send for a page.
async function unlock() {
  const response = await fetchApi(path).catch((error) => {
    if (error.status !== 404) throw error;
    document.title = text("item_error_404");
    find("item").replaceChildren(element("h1", { textContent: document.title }));
  });
  if (!response) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const image of page.querySelectorAll("img")) image.removeAttribute("src");
  document.title = page.title;
  find("item").replaceChildren(...page.getElementById("item").children);
}

// Format prices and dates for the reader.
function format(article) {
  for (const node of article.querySelectorAll("data[data-currency]")) {
    if (Number(node.value)) node.textContent = money(Number(node.value), node.dataset.currency);
  }
  for (const node of article.querySelectorAll("time")) node.textContent = age(node.dateTime);
}

// ── Photos

async function photoLinks(article) {
  const links = [...article.querySelectorAll("#photos a")];
  if (!hasKey()) return links;
  // Neither an image element nor a link can send a key.
  await Promise.all(links.map(async (link) => {
    const response = await fetchApi(link.getAttribute("href")).catch((error) => {
      if (!(error instanceof ApiError) || error.cause === "key") throw error;
    });
    // Without one photo, the page has the others.
    if (response) link.href = link.firstElementChild.src = URL.createObjectURL(await response.blob());
  }));
  return links;
}

function offerZoom(links) {
  const dialog = find("zoom");
  const image = dialog.querySelector("img");
  let shown = 0;

  function show(number) {
    shown = (number + links.length) % links.length;
    image.src = links[shown].href;
    image.alt = links[shown].firstElementChild.alt;
    find("zoom-count").textContent = image.alt;
  }

  for (const [number, link] of links.entries()) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      show(number);
      dialog.showModal();
    });
  }
  const step = (by) => show(shown + by);
  for (const id of ["zoom-previous", "zoom-next"]) find(id).hidden = links.length < 2;
  find("zoom-previous").addEventListener("click", () => step(-1));
  find("zoom-next").addEventListener("click", () => step(1));
  find("zoom-close").addEventListener("click", () => dialog.close());
  image.addEventListener("click", () => dialog.classList.toggle("full"));
  dialog.addEventListener("keydown", ({ key }) => {
    if (key === "ArrowLeft") step(-1);
    if (key === "ArrowRight") step(1);
  });
}

// ── Links

// Return to the search that led here. Going back keeps its place and costs no request.
function offerReturn() {
  const link = find("back");
  link.href = `.${query.size ? `?${query}` : ""}${location.hash}`;
  link.addEventListener("click", (event) => {
    const previous = window.navigation?.entries()[navigation.currentEntry.index - 1];
    if (previous?.url !== link.href || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    history.back();
  });
}

function offerShare({ dataset: { title } }) {
  const url = `${location.origin}${location.pathname}`; // without the search
  find("share").hidden = false;
  find("share").addEventListener("click", async () => {
    try {
      if (navigator.share && matchMedia("(pointer: coarse)").matches) await navigator.share({ title, url });
      else {
        await navigator.clipboard.writeText(url);
        toast(text("item_link_copied"));
      }
    } catch (error) {
      if (error.name !== "AbortError") toast(text("link_not_copied"));
    }
  });
}

// ── The search that led here, and similar listings

function offerExplanation(productId) {
  const like = query.get("like");
  const encoded = location.hash.match(/^#photo=([\w-]+)$/)?.[1];
  if (!/^\d+$/.test(place ?? "") || !(like || encoded || query.get("q"))) return;
  const details = find("why");
  details.hidden = false;
  details.addEventListener("toggle", async () => {
    details.append(...(await elementsOrError(async () => {
      const photo = like ? await fetchPhoto(like) : encoded && fromText(encoded);
      return explain(productId, photo);
    })));
  }, { once: true });
}

async function explain(productId, photo) {
  const parameters = new URLSearchParams(query);
  for (const name of ["like", "page"]) parameters.delete(name);
  // The listing searched by is a hit, but hidden: the others may be one place further.
  for (const [name, value] of Object.entries({ offset: place, limit: 2, explain: true })) parameters.set(name, value);
  const { hits } = await search(parameters, photo);
  const hit = hits.find(({ product_id: id }) => id === productId);
  if (hit) return hit;
  throw new ApiError(text("error_changed"), text("error_changed_hint"));
}

async function showSimilar(productId) {
  const response = await fetchApi(`similar_listings/${encodeURIComponent(productId)}?limit=${MAX_SIMILAR}`).catch((error) => {
    if (error.status === 404) return null; // a release without text search
    throw error;
  });
  const { listings } = response ? await response.json() : { listings: [] };
  find("similar").hidden = !listings.length;
  find("similar").querySelector("ol").append(...listings.map((listing) => card(listing)));
}

start();
