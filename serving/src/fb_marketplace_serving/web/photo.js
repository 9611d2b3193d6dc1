// The photo of a search: reduced and without metadata, such as its place, so that it uploads quickly and fits into the
// fragment of an address, which browsers never send to a server.

const SIDE = 256;          // the encoder sees no more
const MAX_BYTES = 10_000;  // 13,000 characters in an address
const QUALITIES = [0.85, 0.7, 0.55, 0.4, 0.25];

// Return a smaller copy of a photo; null if the browser cannot decode it.
export async function reduce(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return null;
  }
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // behind transparent pixels, like the server
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  let smallest = null;
  for (const quality of QUALITIES) {
    smallest = await encode(canvas, quality);
    if (smallest === null || smallest.size <= MAX_BYTES) break;
  }
  return smallest;
}

// WebP is a third smaller than JPEG, but not every browser writes it.
async function encode(canvas, quality) {
  const write = (type) => new Promise((resolve) => { canvas.toBlob(resolve, type, quality); });
  const webp = await write("image/webp");
  return webp?.type === "image/webp" ? webp : write("image/jpeg");
}

// Return a photo as text that needs no escapes in an address.
export async function toText(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const binary = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

// Return the photo of such a text; null if it is none.
export function fromText(text) {
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
    return bytes.length ? new Blob([bytes], { type: bytes[0] === 0xff ? "image/jpeg" : "image/webp" }) : null;
  } catch {
    return null;
  }
}
