"""Photos side by side, each with a line below it."""

import io
from collections.abc import Sequence
from typing import Final, NamedTuple

from PIL import Image, ImageDraw, ImageFont

SIDE: Final = 160
LINE: Final = 16
GAP: Final = 8
FRAME: Final = 3
SHOWN: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""What is decoded: these are files of strangers, and not every decoder of Pillow's is for such."""


class Cell(NamedTuple):
    """One picture: the bytes of an image file, or of something that is none, and what stands below it.

    A frame, by its colour, lies around the picture and covers nothing of it.
    """

    content: bytes
    caption: str
    frame: str | None = None


def contact_sheet(cells: Sequence[Cell], columns: int, title: str) -> bytes:
    """Draw a sheet of cells, row by row, under a title; gives a PNG."""
    rows = max(1, -(-len(cells) // columns))
    height = GAP + LINE + rows * (SIDE + LINE + GAP) + GAP
    sheet = Image.new("RGB", (GAP + columns * (SIDE + GAP), height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(11)
    draw.text((GAP, GAP // 2), title, "black", ImageFont.load_default(13))
    for place, cell in enumerate(cells):
        left = GAP + place % columns * (SIDE + GAP)
        top = GAP + LINE + GAP + place // columns * (SIDE + LINE + GAP)
        if cell.frame:
            around = (left - FRAME, top - FRAME, left + SIDE + FRAME - 1, top + SIDE + FRAME - 1)
            draw.rectangle(around, cell.frame)
        sheet.paste(_picture(cell.content), (left, top))
        draw.text((left, top + SIDE + FRAME), _fitting(cell.caption, font), "black", font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _picture(content: bytes) -> Image.Image:
    """Show what can be shown of an image file; the beginning of its bytes where nothing can."""
    tile = Image.new("RGB", (SIDE, SIDE), "#eeeeee")
    try:
        with Image.open(io.BytesIO(content), formats=SHOWN) as image:
            if image.width * image.height > 64_000_000:
                raise ValueError("too large to show")
            shown = image.convert("RGB")
            shown.thumbnail((SIDE, SIDE))
    except Exception:  # noqa: BLE001  Pillow's decoders raise whatever damaged bytes lead them to
        lines = [content[start : start + 8].hex(" ") for start in range(0, 64, 8)]
        ImageDraw.Draw(tile).text((10, 12), "\n".join(lines) or "no bytes", "#777777")
        return tile
    tile.paste(shown, ((SIDE - shown.width) // 2, (SIDE - shown.height) // 2))
    return tile


def _fitting(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    while text and font.getlength(text) > SIDE:
        text = text[:-2].rstrip("…") + "…"
    return text
