// Photos come letterboxed into a black square; shown as tiles they look better without the bars.

const DARK = 20;            // of 255: JPEG leaves a little noise in black bars
const SEAM = 2;             // rows of pixels where bar and picture run into each other
const WIDEST_RATIO = 1.8;   // beyond it some of the bars stays, rather than more of the photo goes

// Give the factor by which a square photo has to grow for its picture to fill the square.
export async function growth(photo) {
  const bitmap = await createImageBitmap(photo);
  const { width, height } = bitmap;
  if (width !== height) return 1;
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  const across = bars(height, (row) => lineIsDark(data, row * width * 4, 4, width));
  const upright = bars(width, (column) => lineIsDark(data, column * 4, width * 4, height));
  // A letterbox has bars one way; dark both ways is a dark photo.
  if (across && upright) return 1;
  return Math.min(WIDEST_RATIO, 1 / (1 - across - upright));
}

// Give what share of a side its two bars take, 0 where they are not alike.
function bars(side, isDark) {
  let before = 0;
  while (before < side / 2 && isDark(before)) before += 1;
  let after = 0;
  while (after < side / 2 && isDark(side - 1 - after)) after += 1;
  const alike = Math.abs(before - after) <= 3 && before < side * 0.45;
  return alike && before + after ? (before + after + SEAM) / side : 0;
}

function lineIsDark(data, start, step, count) {
  for (let at = start, left = count; left > 0; at += step, left -= 1) {
    if (data[at] > DARK || data[at + 1] > DARK || data[at + 2] > DARK) return false;
  }
  return true;
}
