"""Edits of copied photos."""

from __future__ import annotations

import io
from random import Random
from typing import TYPE_CHECKING

from fb_marketplace.sample.records import Edit

if TYPE_CHECKING:
    from PIL import Image

_BANNERS = ("SALE", "BARGAINS 4 U", "© my shop", "call now", "quickswap")


def edit_photo(picture: Image.Image, edit: Edit, random: Random) -> Image.Image:
    """Return an edited copy of an RGB picture that still shows the same photo.

    Args:
        picture: RGB.
        edit: "crop" up to a tenth of a side; "reencode" at quality 35 to 60, perhaps smaller;
            "brightness" and contrast by up to a quarter; "watermark" on up to 8 % of the area;
            "mirror" left to right.
        random: source of randomness.
    """
    from PIL import ImageEnhance, ImageOps

    if edit == "crop":
        return _crop(picture, random)
    if edit == "reencode":
        return _reencode(picture, random)
    if edit == "watermark":
        return _add_watermark(picture, random)
    if edit == "mirror":
        return ImageOps.mirror(picture)
    change = random.choice((-1, 1)) * random.uniform(0.12, 0.25)
    lit = ImageEnhance.Brightness(picture).enhance(1 + change)
    return ImageEnhance.Contrast(lit).enhance(1 + random.uniform(-0.15, 0.15))


def _crop(picture: Image.Image, random: Random) -> Image.Image:
    wide, high = picture.size
    cuts = [random.uniform(0.02, 0.05) for _ in range(4)]
    if random.random() < 0.5:
        cuts = [0.0, 0.0, 0.0, 0.0]
        cuts[random.randrange(4)] = random.uniform(0.05, 0.1)
    left, top, right, bottom = cuts
    return picture.crop(
        (int(wide * left), int(high * top), int(wide * (1 - right)), int(high * (1 - bottom)))
    )


def _reencode(picture: Image.Image, random: Random) -> Image.Image:
    from PIL import Image

    if random.random() < 0.5:
        picture = picture.resize((int(picture.width * 0.7), int(picture.height * 0.7)))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=random.randint(35, 60))
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def _add_watermark(picture: Image.Image, random: Random) -> Image.Image:
    """Add a bar below, or a pale badge in a corner, with a text."""
    from PIL import Image, ImageDraw, ImageFont

    marked, (wide, high) = picture.copy(), picture.size
    if random.random() < 0.5:
        place = (int(wide * 0.03), int(high * 0.937))
        marked.paste((28, 28, 32), (0, int(high * 0.93), wide, high))
    else:
        badge = (int(wide * 0.3), int(high * 0.1))
        place = random.choice(((8, 8), (wide - badge[0] - 8, 8), (8, high - badge[1] - 8)))
        marked.paste((240, 240, 240), place, Image.new("L", badge, 140))
    ImageDraw.Draw(marked).text(
        place, random.choice(_BANNERS), fill=(214, 60, 48), font=ImageFont.load_default(high * 0.05)
    )
    return marked
