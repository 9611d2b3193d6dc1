"""Photo files: rendered, then encoded as a seller's phone or the site would."""

from __future__ import annotations

import io
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from fb_marketplace.sample.faults.files import damage_file
from fb_marketplace.sample.faults.near_duplicates import edit_photo
from fb_marketplace.sample.records import Photo
from fb_marketplace.sample.rendering.scenes import (
    render_cut_out,
    render_photo,
    render_placeholder,
)

if TYPE_CHECKING:
    from PIL import Image

CANVAS = 256
_SIZES = (
    *((480, 360), (360, 480), (520, 390), (390, 520), (400, 400), (440, 330), (330, 440)),
    *((600, 450), (540, 304), (460, 370)),
)
_ORIENTATIONS = (6, 8, 3)
_ORIENTATION, _GPS = 0x0112, 0x8825


def render_photo_file(seed: int, photo: Photo) -> bytes:
    """Return the bytes of a photo's file, with its faults.

    Args:
        seed: the marketplace's seed.
        photo: the photo; if it is a copy, its source is rendered.
    """
    if photo.source is not None and photo.edit is None:
        return render_photo_file(seed, photo.source)
    random = Random(f"{seed}/{photo.id}/upload")
    if photo.source is not None and photo.edit is not None:
        return _encode(edit_photo(_render(seed, photo.source), photo.edit, random), photo, random)
    if photo.form == "alpha":
        cut_out = render_cut_out(photo.shows.appearance, (400, 400), _generator(seed, photo))
        return _save(cut_out, "PNG")
    if photo.form == "placeholder":
        return _save(render_placeholder(photo.variant), "JPEG", quality=85)
    upload = _encode(_render(seed, photo), photo, random)
    if photo.file_fault is not None:
        return damage_file(photo.file_fault, photo.variant, upload, random)
    return upload


def render_photo_files(seed: int, photos: Sequence[Photo]) -> list[tuple[str, bytes]]:
    """Return the key and the bytes of each photo's file."""
    return [(photo.key, render_photo_file(seed, photo)) for photo in photos]


def _generator(seed: int, photo: Photo) -> np.random.Generator:
    name = photo.id.replace("-", "")
    return np.random.default_rng([seed, int(name[:16], 16), int(name[16:], 16), photo.slot])


def _render(seed: int, photo: Photo) -> Image.Image:
    rng = _generator(seed, photo)
    wide, high = _SIZES[int(rng.integers(0, len(_SIZES)))]
    if photo.form == "letterboxed":
        wide, high = wide * 3 // 4, high * 3 // 4
    elif photo.form == "twelve_megapixel":
        wide, high = 600, 450
    return render_photo(photo.shows.appearance, (wide, high), rng, photo.slot)


def _encode(picture: Image.Image, photo: Photo, random: Random) -> bytes:
    from PIL import Image

    form, quality = photo.form, random.randint(74, 84)
    if form == "exif_turned":
        return _rotated(picture, photo.variant, quality)
    if form in {"png", "palette"}:
        picture.thumbnail((480, 480))
        if form == "palette":
            picture = picture.quantize(96, Image.Quantize.FASTOCTREE)
        return _save(picture, "PNG")
    if form == "letterboxed":
        picture = _add_bars(picture)
    elif form == "greyscale":
        picture = picture.convert("L")
    elif form == "cmyk":
        picture = picture.convert("CMYK")
    elif form == "twelve_megapixel":
        picture = _enlarge(picture)
    return _save(picture, "JPEG", quality=quality)


def _save(picture: Image.Image, format_name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format_name, **options)
    return buffer.getvalue()


def _add_bars(picture: Image.Image) -> Image.Image:
    from PIL import Image, ImageOps

    small = ImageOps.contain(picture, (CANVAS, CANVAS), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (CANVAS, CANVAS))
    canvas.paste(small, ((CANVAS - small.width) // 2, (CANVAS - small.height) // 2))
    return canvas


def _rotated(picture: Image.Image, variant: int, quality: int) -> bytes:
    """Return a rotated JPEG with its EXIF orientation; every second variant has a GPS location."""
    from PIL import Image

    orientation = _ORIENTATIONS[variant % len(_ORIENTATIONS)]
    undo = {
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    if variant % 2 == 0:
        exif[_GPS] = {1: "N", 2: (51.0, 30.0, float(variant)), 3: "W", 4: (0.0, 7.0, 39.0)}
    return _save(picture.transpose(undo[orientation]), "JPEG", quality=quality, exif=exif.tobytes())


def _enlarge(picture: Image.Image) -> Image.Image:
    """Return a picture at 4000 × 3000 pixels, with the grain of a phone's sensor."""
    from PIL import Image, ImageChops

    large = picture.resize((4000, 3000), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(12).normal(128, 5, (750, 1000)).clip(0, 255).astype(np.uint8)
    grain = Image.fromarray(np.tile(noise, (4, 4))).convert("RGB")
    return ImageChops.add(large, grain, scale=1, offset=-128)
