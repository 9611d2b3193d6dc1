"""The bytes of a photo's file: drawn, then written as its seller's phone or site wrote it."""

from __future__ import annotations

import io
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from fb_marketplace.sample.faults.files import damage_file
from fb_marketplace.sample.faults.near_duplicates import edit_photo
from fb_marketplace.sample.records import Photo
from fb_marketplace.sample.rendering.scenes import render_cut_out, render_photo

if TYPE_CHECKING:
    from PIL import Image

CANVAS = 256
_SIZES = (
    *((600, 450), (450, 600), (560, 420), (420, 560), (500, 500), (480, 360), (360, 480)),
    *((800, 600), (640, 360), (520, 420)),
)
_TURNS = (6, 8, 3)
_ORIENTATION, _GPS = 0x0112, 0x8825


def render_photo_file(seed: int, photo: Photo) -> bytes:
    """The bytes of a photo's file, faults included.

    Args:
        seed: the marketplace's seed.
        photo: the photo; where it is a copy, its source is drawn again.

    Returns:
        What lies in the bucket under its key.
    """
    if photo.source is not None and photo.edit is None:
        return render_photo_file(seed, photo.source)
    random = Random(f"{seed}/{photo.id}/upload")
    if photo.source is not None and photo.edit is not None:
        return _encoded(edit_photo(_picture(seed, photo.source), photo.edit, random), photo, random)
    if photo.form == "alpha":
        return _written(_cut_out(seed, photo), "PNG")
    upload = _encoded(_picture(seed, photo), photo, random)
    if photo.file_fault is not None:
        return damage_file(photo.file_fault, photo.variant, upload, random)
    return upload


def _generator(seed: int, photo: Photo) -> np.random.Generator:
    name = photo.id.replace("-", "")
    return np.random.default_rng([seed, int(name[:16], 16), int(name[16:], 16), photo.slot])


def _picture(seed: int, photo: Photo) -> Image.Image:
    rng = _generator(seed, photo)
    wide, high = _SIZES[int(rng.integers(0, len(_SIZES)))]
    if photo.form == "letterboxed":
        wide, high = wide * 3 // 4, high * 3 // 4
    elif photo.form == "twelve_megapixel":
        wide, high = 800, 600
    return render_photo(photo.shows.look, photo.shows.leaf.archetype, (wide, high), rng, photo.slot)


def _cut_out(seed: int, photo: Photo) -> Image.Image:
    return render_cut_out(
        photo.shows.look, photo.shows.leaf.archetype, (480, 480), _generator(seed, photo)
    )


def _encoded(picture: Image.Image, photo: Photo, random: Random) -> bytes:
    from PIL import Image

    form, quality = photo.form, random.randint(74, 84)
    if form == "exif_turned":
        return _turned(picture, photo.variant, quality)
    if form in {"png", "palette"}:
        picture.thumbnail((480, 480))
        if form == "palette":
            picture = picture.quantize(96, Image.Quantize.FASTOCTREE)
        return _written(picture, "PNG")
    if form == "letterboxed":
        picture = _letterboxed(picture)
    elif form == "greyscale":
        picture = picture.convert("L")
    elif form == "cmyk":
        picture = picture.convert("CMYK")
    elif form == "twelve_megapixel":
        picture = _magnified(picture)
    return _written(picture, "JPEG", quality=quality)


def _written(picture: Image.Image, format_name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format_name, **options)
    return buffer.getvalue()


def _letterboxed(picture: Image.Image) -> Image.Image:
    from PIL import Image, ImageOps

    small = ImageOps.contain(picture, (CANVAS, CANVAS), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (CANVAS, CANVAS))
    canvas.paste(small, ((CANVAS - small.width) // 2, (CANVAS - small.height) // 2))
    return canvas


def _turned(picture: Image.Image, variant: int, quality: int) -> bytes:
    """Stored lying or head down, with an EXIF tag that sets it upright; every other located."""
    from PIL import Image

    orientation = _TURNS[variant % len(_TURNS)]
    undo = {
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    if variant % 2 == 0:
        exif[_GPS] = {1: "N", 2: (51.0, 30.0, float(variant)), 3: "W", 4: (0.0, 7.0, 39.0)}
    return _written(
        picture.transpose(undo[orientation]), "JPEG", quality=quality, exif=exif.tobytes()
    )


def _magnified(picture: Image.Image) -> Image.Image:
    """A picture at 4000 × 3000 pixels, with the grain that a phone's sensor has at that size."""
    from PIL import Image, ImageChops

    large = picture.resize((4000, 3000), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(12).normal(128, 5, (750, 1000)).clip(0, 255).astype(np.uint8)
    grain = Image.fromarray(np.tile(noise, (4, 4))).convert("RGB")
    return ImageChops.add(large, grain, scale=1, offset=-128)
