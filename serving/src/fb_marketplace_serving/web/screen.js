// What the reader sees of a search: its photo, its category, its listings, or what went wrong.

import * as filters from "./filters.js";
import { growth } from "./letterbox.js";
import { showCards, showCategory, showPlaceholders } from "./listings.js";
import { button, inWords } from "./trouble.js";

const find = (id) => document.getElementById(id);
const [photo, status, trouble, hits, more] = ["photo", "status", "trouble", "hits", "more"].map(find);

// ── How it stands

// Say that listings are looked for, with blanks where there are no cards to keep meanwhile.
export function sayBusy(blanks) {
  trouble.replaceChildren();
  find("results").hidden = false;
  hits.setAttribute("aria-busy", "true"); // of the list only: what is busy may not be read out
  more.hidden = true;
  status.textContent = "Looking for listings like it…";
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
  for (const id of ["results", "filters", "seen", "photo", "no-preview"]) find(id).hidden = true;
  find("choose").textContent = "Choose a photo";
  find("welcome").textContent = "Find listings by photo";
  find("caption").textContent = "";
}

export function showQuery(search) {
  document.body.classList.remove("before");
  find("filters").hidden = false;
  find("choose").textContent = "Another photo";
  find("welcome").textContent = "Your photo";
  filters.write(search.filters);
  find("caption").textContent = search.caption;
  showPhoto(search);
  showPrediction(search);
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

// Show the listings of a search; `clear` is what the reader may do where filters leave none.
export function showListings(search, clear) {
  hits.removeAttribute("aria-busy");
  trouble.replaceChildren();
  find("results").hidden = false;
  find("caption").textContent = search.caption;
  filters.showCount(search.filters);
  showCards(hits, search.hits);
  more.hidden = search.ended;
  const found = search.hits.length;
  const set = filters.count(search.filters) > 0;
  if (found) {
    const noun = found === 1 ? "listing" : "listings";
    const all = search.all ? ", all there are" : "";
    status.textContent = `${found} ${noun}${all}${set ? " under these filters" : ""}, most alike first.`;
    return;
  }
  status.textContent = set ? "No listing is left under these filters." : "There are no listings to search.";
  if (set) trouble.replaceChildren(button("Clear filters", clear));
}
