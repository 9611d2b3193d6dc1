// Photos are letterboxed into a black square. Tiles are shown without the bars.

const CANONICAL = 256;      // pixels; larger photos have no bars
const DARK = 20;            // of 255; JPEG noise in black bars
const SEAM = 2;             // pixels of the blurred edge between bar and picture
const MAX_SCALE = 1.8;   // limit on cropping; some of the bars may stay

// Return the scale at which the picture fills the square.
// `photo` is a blob or a loaded image.
export async function growth(photo) {
  const bitmap = await createImageBitmap(photo);
  const { width, height } = bitmap;
  if (width !== height || width > CANONICAL) {
    bitmap.close();
    return 1;
  }
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  const across = bars(height, (row) => lineIsDark(data, row * width * 4, 4, width));
  const upright = bars(width, (column) => lineIsDark(data, column * 4, width * 4, height));
  // A letterbox has bars on two sides; dark on all sides is a dark photo.
  if (across && upright) return 1;
  return Math.min(MAX_SCALE, 1 / (1 - across - upright));
}

// Return the share of a side that its two bars take; 0 if they differ in size.
function bars(side, isDark) {
  let before = 0;
  while (before < side / 2 && isDark(before)) before += 1;
  let after = 0;
  while (after < side / 2 && isDark(side - 1 - after)) after += 1;
  const equal = Math.abs(before - after) <= 3 && before < side * 0.45;
  return equal && before + after ? (before + after + SEAM) / side : 0;
}

function lineIsDark(data, start, step, count) {
  for (let index = start, left = count; left > 0; index += step, left -= 1) {
    if (data[index] > DARK || data[index + 1] > DARK || data[index + 2] > DARK) return false;
  }
  return true;
}
