// Photo input: file chooser, drag and drop anywhere on the page, paste.

import { find } from "./dom.js";

const file = find("file");
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");

// Call `handle` with one or more files whenever the user provides some.
export function onUpload(handle) {
  file.addEventListener("change", () => {
    const chosen = [...file.files];
    file.value = ""; // allows choosing the same file again
    if (chosen.length) handle(chosen);
  });
  document.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData?.files.length) handle([...clipboardData.files]);
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    showDropZone(0);
    if (event.dataTransfer.files.length) handle([...event.dataTransfer.files]);
  });
}

let depth = 0; // dragenter of a child fires before dragleave of its parent

function showDropZone(value) {
  depth = Math.max(0, value);
  document.body.classList.toggle("dragging", depth > 0);
}

addEventListener("dragenter", (event) => { if (hasFiles(event)) showDropZone(depth + 1); });
addEventListener("dragleave", (event) => { if (hasFiles(event)) showDropZone(depth - 1); });
// Otherwise the browser opens the file.
addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
