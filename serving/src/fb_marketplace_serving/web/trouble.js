// What went wrong, in words, and what the reader can do about it.

import { element } from "./listings.js";
import { Trouble } from "./server.js";

export function button(label, act) {
  const made = element("button", { type: "button", textContent: label });
  made.addEventListener("click", act);
  return made;
}

// Give what is to be shown of an error; `again`, `another` and `clear` are what the reader may do.
export function inWords(error, remedies) {
  if (!(error instanceof Trouble)) {
    console.error(error);
    error = new Trouble("Something went wrong on this page", "Reload it, and try again.");
  }
  return [
    element("h3", { textContent: error.message }),
    element("p", { textContent: sentence(error.detail) }),
    remedy(error.about, remedies),
  ];
}

function remedy(about, { again, another, clear }) {
  if (about === "words") return button("Choose a photo", another);
  if (about === "photo") return button("Choose another photo", another);
  if (about === "filters") return button("Clear filters", clear);
  return button(about === "key" ? "Enter a key" : "Try again", again);
}

function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
