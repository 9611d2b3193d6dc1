"""Resizing to upright sRGB, with or without black bars to a square; transparency becomes white.

Networks see the content without bars, stretched to the square; see :func:`stretch_content`.
"""

from collections.abc import Callable
from functools import reduce
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fb_marketplace_serving.imaging.color_profile import to_srgb

_TRANSPOSES: Final[dict[object, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transposition that undoes each EXIF orientation."""

_STRIP_PIXELS: Final = 2_000_000
"""Pixels whose mode is converted at a time: about 8 MB."""

_MAX_BAR_LEVEL: Final = 20  # grey levels; ringing of black at JPEG quality 35
_MAX_BRIGHT_SHARE: Final = 0.02  # maximum share of brighter pixels in a line of a bar
_MIN_CONTENT: Final = 1 / 8
_MAX_STRETCH: Final = 2.0

FRAMING_VERSION: Final = 2
"""Increase it if :func:`stretch_content` gives other pixels. Version 1 is a photo with its bars."""


def letterbox(image: Image.Image, side: int) -> Image.Image:
    """Return an opened image, upright, in the middle of a black sRGB square.

    Args:
        image: an image whose pixels are not loaded yet; a JPEG is decoded at a reduced scale.
        side: width and height of the square, in pixels.
    """
    resized = fit(image, side / max(image.size))
    square = Image.new("RGB", (side, side))
    square.paste(resized, ((side - resized.width) // 2, (side - resized.height) // 2))
    return square


def fit(image: Image.Image, scale: float) -> Image.Image:
    """Return an opened image, upright and in sRGB, resized by a factor; see :func:`letterbox`."""
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image.draft(None, size)
    image.load()
    transpose = _TRANSPOSES.get(_orientation(image))
    resized = _resize_opaque(image, size)
    return resized if transpose is None else resized.transpose(transpose)


def content_box(grey: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Return the box of the picture inside black bars.

    Opposite bars are assumed to have the same width, as after letterboxing, so a dark edge of the picture
    is not cut off. If almost nothing would remain, the box is the full picture.

    Args:
        grey: uint8, (height, width); any size.

    Returns:
        Left, top, right and bottom in pixels, in Pillow's convention.
    """
    return photo_box(grey[:, :, np.newaxis])


def photo_box(pixels: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Return the :func:`content_box` of a photo by the brightest channel of each pixel.

    A dark blue picture is content here, though its grey level is that of a bar.

    Args:
        pixels: uint8, (height, width, channels).
    """
    height, width, channels = pixels.shape
    rows = pixels.reshape(height, width * channels)
    top, bottom = _inside_bars(pixels, rows.max(axis=1))
    brightest = rows[top:bottom].max(axis=0).reshape(width, channels).max(axis=1)
    left, right = _inside_bars(pixels[top:bottom].swapaxes(0, 1), brightest)
    return left, top, right, bottom


def stretch_content(
    pixels: NDArray[np.uint8], image: Image.Image | None = None
) -> NDArray[np.uint8]:
    """Stretch the content of a letterboxed photo to the full square, so that no input is spent on bars.

    A narrow content keeps a part of its bars: it is stretched at most ``_MAX_STRETCH`` times as much in one
    direction as in the other.

    Args:
        pixels: uint8, (side, side, 3).
        image: the same photo, if it is also an image: then its pixels are not copied.

    Returns:
        uint8, (side, side, 3); the same array if there are no bars.
    """
    side = len(pixels)
    left, top, right, bottom = photo_box(pixels)
    minimum = round(max(right - left, bottom - top) / _MAX_STRETCH)
    left, right = _widen(left, right, minimum, side)
    top, bottom = _widen(top, bottom, minimum, side)
    if (left, top, right, bottom) == (0, 0, side, side):
        return pixels
    # Not resize(box=...), which interpolates with the bars beside the box.
    content = (
        image.crop((left, top, right, bottom))
        if image
        else Image.fromarray(pixels[top:bottom, left:right])
    )
    return np.asarray(content.resize((side, side), Image.Resampling.BICUBIC))


def _widen(start: int, end: int, minimum: int, side: int) -> tuple[int, int]:
    """Return a range of at least the minimum around the middle of another, within 0 and the side."""
    missing = max(0, minimum - (end - start))
    start = min(max(0, start - missing // 2), side - (end - start) - missing)
    return start, max(end, start + minimum)


def _inside_bars(lines: NDArray[np.uint8], brightest: NDArray[np.uint8]) -> tuple[int, int]:
    """Return the range of lines between the bars.

    Args:
        lines: uint8, (lines, pixels, channels).
        brightest: uint8, (lines,), the maximum of each line. Most lines of bars need no other comparison.
    """
    size, may_be_content = len(lines), brightest > _MAX_BAR_LEVEL
    for bar in np.flatnonzero(may_be_content | may_be_content[::-1])[: (size + 1) // 2].tolist():
        if _is_content(lines[bar]) or _is_content(lines[size - 1 - bar]):
            return (bar, size - bar) if size - 2 * bar >= size * _MIN_CONTENT else (0, size)
    return 0, size


def _is_content(line: NDArray[np.uint8]) -> bool:
    bright = reduce(np.logical_or, (line > _MAX_BAR_LEVEL).T)
    return bool(np.count_nonzero(bright) / len(bright) > _MAX_BRIGHT_SHARE)


def _resize_opaque(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize to sRGB, with transparent pixels composed on white."""
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        # Resize with premultiplied alpha: otherwise invisible pixels would colour their neighbours.
        mode = "RGBA" if image.size == size else "RGBa"
        premultiplied = _convert(image, mode, lambda part: _to_mode(_to_mode(part, "RGBA"), mode))
        visible = _resize(premultiplied, size).convert("RGBA")
        if profile:
            is_grey = image.mode in ("L", "LA", "La")
            color = to_srgb(visible.getchannel(0) if is_grey else visible.convert("RGB"), profile)
            color.putalpha(visible.getchannel("A"))
            visible = color
        white = Image.new("RGBA", size, "white")
        return Image.alpha_composite(white, visible).convert("RGB")
    if image.mode.startswith("I"):
        image = _convert(image, "L", _to_8_bits)
    elif image.mode == "P":
        image = _convert(image, "RGB", lambda part: part.convert("RGB"))
    return to_srgb(_resize(image, size), profile)


def _convert(
    image: Image.Image, mode: str, convert: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    """Convert in strips of rows, so that intermediate modes are never in memory in full."""
    if image.mode == mode:
        return image
    result, rows = Image.new(mode, image.size), max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        result.paste(convert(image.crop((0, top, image.width, bottom))), (0, top))
    return result


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _to_8_bits(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _orientation(image: Image.Image) -> object:
    """Return the EXIF orientation; 1 (upright) if EXIF is damaged, as the pixels may be intact."""
    try:
        return image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001 - Pillow's EXIF reader raises struct.error and more
        return 1
