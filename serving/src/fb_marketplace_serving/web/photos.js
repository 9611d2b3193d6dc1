// Photos of listings, loaded when their card comes near the screen.

import { fetchPhoto, hasKey, photoUrl } from "./api.js";
import { element } from "./dom.js";
import { growth } from "./letterbox.js";
import { text } from "./text.js";

const MARGIN = "600px"; // below the screen
const SIZES = "(min-width: 60rem) 18rem, (min-width: 48rem) 30vw, 46vw"; // of a card
const DISPLAY = 1024;

const queue = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    queue.unobserve(target);
    load(target);
  }
}, { rootMargin: MARGIN });

// Make the square photo of a listing. Its size is known before it is loaded.
export function photoTile(imageId) {
  const tile = element("span", { className: "tile" });
  if (!imageId) {
    showMissing(tile);
    return tile;
  }
  tile.dataset.photo = imageId;
  tile.append(element("img", { alt: "", width: 256, height: 256, decoding: "async" }));
  queue.observe(tile);
  return tile;
}

async function load(tile) {
  const image = tile.firstChild;
  const imageId = tile.dataset.photo;
  try {
    // An image element cannot send a key.
    if (hasKey()) image.src = URL.createObjectURL(await fetchPhoto(imageId, { size: DISPLAY }));
    else {
      image.sizes = SIZES;
      image.srcset = `${photoUrl(imageId)} 256w, ${photoUrl(imageId, DISPLAY)} ${DISPLAY}w`;
      image.src = photoUrl(imageId);
    }
    await image.decode();
    image.style.transform = `scale(${await growth(image)})`;
    tile.classList.add("loaded");
  } catch {
    showMissing(tile);
  }
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
}

function showMissing(tile) {
  tile.classList.add("missing");
  tile.textContent = text("no_photo");
}
