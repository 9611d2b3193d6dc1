// Infinite scroll: more listings are loaded before the end of the list is seen.

const AHEAD = "1200px";
const MAX_AUTOMATIC = 4; // pages in a row, after which the footer can be reached

// Call `load` when a button comes near the screen. Returns `again`, to be called when a page has been shown, and
// `reset`, when the reader has asked for more, or for another search.
export function watchEnd(node, load) {
  let automatic = 0;
  const observer = new IntersectionObserver((entries) => {
    if (!entries.at(-1).isIntersecting || node.hidden || node.disabled || automatic >= MAX_AUTOMATIC) return;
    automatic += 1;
    load();
  }, { rootMargin: `0px 0px ${AHEAD}` });
  observer.observe(node);
  return {
    // Observing again reports a button that has stayed near the screen.
    again() {
      observer.unobserve(node);
      observer.observe(node);
    },
    reset() { automatic = 0; },
  };
}
