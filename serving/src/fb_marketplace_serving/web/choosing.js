// The ways a photo comes in: chosen, dropped anywhere on the page, pasted.

const file = document.getElementById("file");
const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");

// Call `take` with the files, one at least, whenever there are any.
export function whenChosen(take) {
  file.addEventListener("change", () => {
    const chosen = [...file.files];
    file.value = ""; // so that the same file may be chosen again
    if (chosen.length) take(chosen);
  });
  document.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData?.files.length) take([...clipboardData.files]);
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    showDropping(0);
    if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
  });
}

let inside = 0; // entering a child comes before leaving its parent

function showDropping(now) {
  inside = Math.max(0, now);
  document.body.classList.toggle("dragging", inside > 0);
}

addEventListener("dragenter", (event) => { if (holdsFiles(event)) showDropping(inside + 1); });
addEventListener("dragleave", (event) => { if (holdsFiles(event)) showDropping(inside - 1); });
// Without this the browser would leave the page for the file.
addEventListener("dragover", (event) => { if (holdsFiles(event)) event.preventDefault(); });
