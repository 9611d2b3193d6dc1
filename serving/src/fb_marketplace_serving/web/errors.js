// Error messages with a remedy.

import { ApiError } from "./api.js";
import { element } from "./listings.js";

export function button(label, onClick) {
  const node = element("button", { type: "button", textContent: label });
  node.addEventListener("click", onClick);
  return node;
}

// Return the elements of an error message. `actions` has retry, choosePhoto and clearFilters.
export function errorElements(error, actions) {
  if (!(error instanceof ApiError)) {
    console.error(error);
    error = new ApiError("Something went wrong on this page", "Reload it, and try again.");
  }
  return [
    element("h3", { textContent: error.message }),
    element("p", { textContent: sentence(error.detail) }),
    remedy(error.cause, actions),
  ];
}

function remedy(cause, { retry, choosePhoto, clearFilters }) {
  if (cause === "words") return button("Choose a photo", choosePhoto);
  if (cause === "photo") return button("Choose another photo", choosePhoto);
  if (cause === "filters") return button("Clear filters", clearFilters);
  return button(cause === "key" ? "Enter a key" : "Try again", retry);
}

function sentence(text) {
  const capitalized = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capitalized) ? capitalized : `${capitalized}.`;
}
