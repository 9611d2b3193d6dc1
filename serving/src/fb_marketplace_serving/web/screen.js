// What the reader sees of a search: what was asked, its listings, or what went wrong.

import { showFacets, showRoots } from "./facets.js";
import * as filters from "./filters.js";
import { growth } from "./letterbox.js";
import { cardOfPhoto, showCards, showCategory, showPlaceholders } from "./listings.js";
import { cardOfHit, close } from "./opened.js";
import { button, inWords } from "./trouble.js";

const find = (id) => document.getElementById(id);
const [photo, status, trouble, hits, more, sort] =
  ["photo", "status", "trouble", "hits", "more", "sort"].map(find);

// ── What can be done

// Show what the release can do: search by words too, or only by photo.
export function showMeans(byWords) {
  document.body.classList.toggle("by-photo-only", !byWords);
  if (byWords) return;
  find("promise").textContent = "See what it shows, and the listings most like it.";
  if (document.body.classList.contains("before")) find("welcome").textContent = "Find listings by photo";
}

const onlyByPhoto = () => document.body.classList.contains("by-photo-only");

// ── How it stands

// Say that listings are looked for, with blanks where there are no cards to keep meanwhile.
export function sayBusy(search, blanks) {
  trouble.replaceChildren();
  find("results").hidden = false;
  hits.setAttribute("aria-busy", "true"); // of the list only: what is busy may not be read out
  more.hidden = true;
  status.textContent = search.photo || search.like ? "Looking for listings like it…" : "Looking for listings…";
  if (blanks) showPlaceholders(hits, blanks);
}

// Say that the server is asked again in so many seconds; 0 is now.
export function sayWaiting(seconds) {
  // Every second would be too much to be read out.
  if (seconds === 0) status.textContent = "Asking again…";
  else if (!status.textContent.startsWith("The server is busy")) {
    status.textContent = `The server is busy. It will be asked again in ${seconds} s.`;
  }
}

// Say what went wrong; the remedies are those of trouble.js.
export function sayTrouble(error, remedies) {
  hits.removeAttribute("aria-busy");
  status.textContent = "";
  hits.replaceChildren();
  more.hidden = true;
  trouble.replaceChildren(...inWords(error, remedies));
}

// ── What was searched by

export function showStart() {
  document.body.classList.add("before");
  for (const id of ["results", "filters", "seen", "photo", "no-preview", "remove", "hint"]) find(id).hidden = true;
  find("choose").textContent = "Choose a photo";
  find("welcome").textContent = onlyByPhoto() ? "Find listings by photo" : "Find listings";
  find("caption").textContent = "";
  find("words").value = "";
  document.title = "fb-marketplace";
}

// Show where a reader who does not know what to look for may begin.
export const offerRoots = showRoots;

export function showQuery(search) {
  document.body.classList.remove("before");
  const pictured = Boolean(search.photo || search.like);
  find("filters").hidden = false;
  find("choose").textContent = pictured ? "Another photo" : "Add a photo";
  find("welcome").textContent = search.words || (pictured ? "Your photo" : "All listings");
  find("remove").hidden = !pictured || onlyByPhoto();
  find("hint").hidden = !pictured || Boolean(search.words);
  find("words").value = search.words;
  find("query").classList.toggle("no-photo", !pictured);
  document.title = `${search.words || search.caption || "Listings"} · fb-marketplace`;
  filters.write(search.filters);
  showSort(search);
  find("heading").textContent = heading(search);
  find("caption").textContent = search.caption;
  showPhoto(search);
  showPrediction(search);
}

function heading({ words, photo: file, like }) {
  const pictured = file || like;
  if (words) return pictured ? `Like it, and “${words}”` : `“${words}”`;
  return pictured ? "Listings most like it" : "All listings";
}

// Without a place nothing is near.
function showSort({ sort: by, filters: { near } }) {
  const nearest = sort.querySelector("[value=distance]");
  nearest.disabled = !near;
  nearest.textContent = near ? "nearest first" : "nearest (needs a town)";
  sort.value = by === "distance" && !near ? "relevance" : by;
}

let shown = null;

export function showPhoto(search) {
  URL.revokeObjectURL(photo.src);
  find("no-preview").hidden = true;
  const mine = shown = search.photo;
  photo.hidden = !mine;
  if (!mine) return;
  photo.alt = `The photo searched by: ${search.caption}`;
  photo.src = URL.createObjectURL(mine);
  photo.style.transform = "";
  growth(mine).then((scale) => {
    if (mine === shown) photo.style.transform = `scale(${scale})`;
  }, () => {}); // what cannot be decoded has no preview
}

photo.addEventListener("error", () => {
  photo.hidden = true;
  find("no-preview").hidden = false;
});

export function showPrediction({ prediction }) {
  find("seen").hidden = !prediction;
  if (prediction) showCategory(find("category"), find("probabilities"), prediction);
}

// ── What was found

// Show the listings of a search. What the reader may do: `clear` the filters where they leave none,
// `narrow` them by a facet, have a hit `explain`ed.
export function showListings(search, { clear, narrow, explain }) {
  const { answer, words, caption } = search;
  hits.removeAttribute("aria-busy");
  trouble.replaceChildren();
  find("results").hidden = false;
  find("caption").textContent = caption;
  filters.showCount(search.filters);
  showSort(search);
  if (answer) {
    const currency = search.hits.find((hit) => hit.currency)?.currency ?? "GBP";
    showFacets(answer, search.filters, currency, narrow);
  }
  const asked = words || search.photo;
  showCards(hits, search.hits, answer ? (hit) => cardOfHit(hit, asked ? explain : null) : cardOfPhoto);
  more.hidden = search.ended;
  const set = filters.count(search.filters) > 0;
  status.textContent = answer ? countOfAll(search, set) : countOfPhotos(search, set);
  if (!search.hits.length && set) trouble.replaceChildren(button("Clear filters", clear));
}

export function closePanels() {
  for (const panel of hits.querySelectorAll(":scope > .panel")) close(panel.previousElementSibling);
}

const counted = (count, noun = "listing") => `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;

function countOfPhotos({ hits: found, all }, set) {
  if (!found.length) return set ? "No listing is left under these filters." : "There are no listings to search.";
  const rest = all ? ", all there are" : "";
  return `${counted(found.length)}${rest}${set ? " under these filters" : ""}, most alike first.`;
}

const ORDERS = { relevance: "best first", price_asc: "cheapest first", price_desc: "dearest first", distance: "nearest first" };

function countOfAll({ total, hits: found, answer, sort: by, words, photo: file, restarted }, set) {
  const again = restarted ? "The listings have changed since, and are shown from the start. " : "";
  if (!found.length) {
    return again + (set ? "No listing is left under these filters."
      : words ? "Nothing was found. Try other words, or fewer." : "There are no listings to search.");
  }
  const folded = answer.listings - answer.total;
  const more = folded > 0 ? ` and ${folded.toLocaleString()} more of the same` : "";
  const order = by === "relevance" && !words && !file ? "" : `, ${ORDERS[by]}`;
  return `${again}${counted(total)}${more}${set ? " under these filters" : ""}${order}.`;
}
