"""Resizing to upright sRGB, with or without black bars to a square; transparency becomes white."""

from collections.abc import Callable
from typing import Final

import numpy as np
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
