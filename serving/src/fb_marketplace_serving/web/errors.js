// Error messages with a remedy.

import { ApiError } from "./api.js";
import { button, element } from "./dom.js";
import { text } from "./text.js";

// Return the elements of an error message. `actions` has retry, choosePhoto and clearFilters.
export function errorElements(error, actions) {
  if (!(error instanceof ApiError)) {
    console.error(error);
    error = new ApiError(text("error_page"), text("error_page_hint"));
  }
  return [
    element("h2", { textContent: error.message }),
    element("p", { textContent: sentence(error.detail) }),
    remedy(error.cause, actions),
  ];
}

function remedy(cause, { retry, choosePhoto, clearFilters }) {
  if (cause === "words") return button(text("choose_photo"), choosePhoto);
  if (cause === "photo") return button(text("choose_another_photo"), choosePhoto);
  if (cause === "filters") return button(text("clear_filters"), clearFilters);
  return button(text(cause === "key" ? "enter_key" : "try_again"), retry);
}

function sentence(detail) {
  const capitalized = detail.charAt(0).toUpperCase() + detail.slice(1);
  return /[.!?]$/.test(capitalized) ? capitalized : `${capitalized}.`;
}
