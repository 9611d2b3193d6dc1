// Results as you type: one search a pause, and none while the server is busy.

const DELAY_MS = 200;
const MIN_LENGTH = 2;

// Call `search` with the text of a field when its typing pauses, unless its results are shown. Returns `cancel`, and
// `pause`: search again for the text, after some seconds.
export function onTyping(field, { isShown, search }) {
  let waiting;
  let busyUntil = 0;

  function schedule(repeat) {
    clearTimeout(waiting);
    const left = Math.max(DELAY_MS, busyUntil - Date.now());
    waiting = setTimeout(() => {
      const typed = field.value.trim();
      if (repeat || (!isShown(typed) && typed.length !== MIN_LENGTH - 1)) search(typed);
    }, left);
  }

  field.addEventListener("input", ({ isComposing }) => { if (!isComposing) schedule(false); });
  field.addEventListener("compositionend", () => schedule(false));
  return {
    cancel: () => clearTimeout(waiting),
    pause(seconds) {
      busyUntil = Date.now() + seconds * 1000;
      schedule(true);
    },
  };
}
