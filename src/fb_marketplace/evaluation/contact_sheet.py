"""Contact sheets: a grid of photos with captions."""

import io
from collections.abc import Sequence
from typing import Final, NamedTuple

from PIL import Image, ImageDraw, ImageFont

SIDE: Final = 160
LINE: Final = 16
GAP: Final = 8
FRAME: Final = 3
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""Formats to decode. Files are untrusted, and not all of Pillow's decoders are hardened."""


class Cell(NamedTuple):
    """A photo with its caption.

    Attributes:
        content: bytes of an image file, or of any other file.
        caption: the line below it.
        frame: color of a frame around the photo.
    """

    content: bytes
    caption: str
    frame: str | None = None


def contact_sheet(cells: Sequence[Cell], columns: int, title: str) -> bytes:
    """Draw cells row by row under a title; returns a PNG."""
    rows = max(1, -(-len(cells) // columns))
    height = GAP + LINE + rows * (SIDE + LINE + GAP) + GAP
    sheet = Image.new("RGB", (GAP + columns * (SIDE + GAP), height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(11)
    draw.text((GAP, GAP // 2), title, "black", ImageFont.load_default(13))
    for index, cell in enumerate(cells):
        left = GAP + index % columns * (SIDE + GAP)
        top = GAP + LINE + GAP + index // columns * (SIDE + LINE + GAP)
        if cell.frame:
            box = (left - FRAME, top - FRAME, left + SIDE + FRAME - 1, top + SIDE + FRAME - 1)
            draw.rectangle(box, cell.frame)
        sheet.paste(_tile(cell.content), (left, top))
        draw.text((left, top + SIDE + FRAME), _shorten(cell.caption, font), "black", font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _tile(content: bytes) -> Image.Image:
    """Return a thumbnail of an image file; the first bytes in hex if it cannot be decoded."""
    tile = Image.new("RGB", (SIDE, SIDE), "#eeeeee")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > 64_000_000:
                raise ValueError("too large")
            photo = image.convert("RGB")
            photo.thumbnail((SIDE, SIDE))
    except Exception:  # noqa: BLE001  Pillow's decoders raise various errors on damaged files
        lines = [content[start : start + 8].hex(" ") for start in range(0, 64, 8)]
        ImageDraw.Draw(tile).text((10, 12), "\n".join(lines) or "no bytes", "#777777")
        return tile
    tile.paste(photo, ((SIDE - photo.width) // 2, (SIDE - photo.height) // 2))
    return tile


def _shorten(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    while text and font.getlength(text) > SIDE:
        text = text[:-2].rstrip("…") + "…"
    return text
