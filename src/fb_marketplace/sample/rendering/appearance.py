"""What one product looks like: the facts that a picture must show, in the terms of a pen."""

from __future__ import annotations

from dataclasses import dataclass

from fb_marketplace.sample.rendering.canvas import BLACK, WHITE, Canvas, Color, adjust_brightness

LOGOS = ("dot", "bar", "wedge", "twin", "ring", "cross", "wave", "square")


@dataclass(frozen=True)
class Appearance:
    """A product's appearance, the same in each of its photos.

    Attributes:
        body: colour of most of it.
        accent: the brand's second colour, on seams, buttons and stripes.
        trim: colour of legs, handles and frames.
        logo: the brand's mark, one of `LOGOS`.
        size: 0 small, 1 usual, 2 large: proportions, not only scale.
        wear: 0 as new to 1 worn out.
        details: eight numbers in [0, 1) that set it apart from its siblings.
    """

    body: Color
    accent: Color
    trim: Color
    logo: str
    size: int
    wear: float
    details: tuple[float, ...]

    def count(self, detail: int, least: int, most: int) -> int:
        """The whole number from least to most that one of the details stands for."""
        return least + int(self.details[detail] * (most - least + 1))

    def between(self, detail: int, low: float, high: float) -> float:
        """The number between low and high that one of the details stands for."""
        return low + self.details[detail] * (high - low)

    def chance(self, detail: int, share: float) -> bool:
        """Whether one of the details falls in the first `share` of its range."""
        return self.details[detail] < share


def mark(pen: Canvas, look: Appearance, x: float, y: float, size: float) -> None:
    """Draws the brand's mark, `size` units high, centred at (x, y)."""
    ink = look.accent
    half = size / 2
    if look.logo == "dot":
        pen.disc(x, y, half, ink)
    elif look.logo == "bar":
        pen.box(x - size, y - half / 2, x + size, y + half / 2, ink)
    elif look.logo == "wedge":
        pen.shape([(x - half, y + half), (x + half, y + half), (x + half, y - half)], ink)
    elif look.logo == "twin":
        pen.disc(x - half, y, half * 0.7, ink)
        pen.disc(x + half, y, half * 0.7, ink)
    elif look.logo == "ring":
        pen.ring(x, y, half * 0.9, ink, size * 0.2)
    elif look.logo == "cross":
        pen.box(x - half, y - half / 3, x + half, y + half / 3, ink)
        pen.box(x - half / 3, y - half, x + half / 3, y + half, ink)
    elif look.logo == "wave":
        pen.stroke(
            [(x - size, y), (x - half, y - half), (x, y), (x + half, y + half), (x + size, y)],
            ink,
            size * 0.25,
        )
    else:
        pen.box(x - half, y - half, x + half, y + half, ink)


def pattern(pen: Canvas, look: Appearance, x0: float, y0: float, x1: float, y1: float) -> None:
    """Fills a box of cloth or card with the product's own pattern: stripes, bands, dots or none."""
    kind = look.count(0, 0, 4)
    ink = (
        adjust_brightness(look.accent, 0.85)
        if look.chance(1, 0.5)
        else adjust_brightness(look.body, 1.35)
    )
    wide, high = x1 - x0, y1 - y0
    number = look.count(2, 2, 6)
    if kind == 1:
        for step in range(number):
            left = x0 + wide * (step + 0.3) / number
            pen.box(left, y0, left + wide * 0.35 / number, y1, ink)
    elif kind == 2:
        for step in range(number):
            top = y0 + high * (step + 0.3) / number
            pen.box(x0, top, x1, top + high * 0.3 / number, ink)
    elif kind == 3:
        for row in range(number):
            for column in range(number):
                pen.disc(
                    x0 + wide * (column + 0.5) / number,
                    y0 + high * (row + 0.5) / number,
                    min(wide, high) * 0.22 / number,
                    ink,
                )
    elif kind == 4:
        at = look.between(3, 0.25, 0.7)
        pen.box(x0, y0 + high * at, x1, y0 + high * (at + 0.16), ink)


def wear(pen: Canvas, look: Appearance) -> None:
    """Draws the marks of use over an object: scratches, scuffs and a stain, by its wear."""
    number = int(look.wear * 16)
    for step in range(number):
        a, b, c = (look.details[(step * 3 + part) % 8] * 7.31 + step * 0.37 for part in range(3))
        x, y = (a % 1.0) * 1.2 - 0.6, (b % 1.0) * 1.2 - 0.6
        long = 0.06 + 0.16 * (c % 1.0)
        ink = adjust_brightness(look.body, 1.55 if step % 2 else 0.55)
        pen.stroke(
            [(x, y), (x + long * (c % 0.7), y + long * 0.6), (x + long, y + long * 0.5)], ink, 0.012
        )
        if step % 5 == 4:
            pen.disc(
                x, y + 0.1, long * 0.4, adjust_brightness(look.body, 0.6), flat=0.6, turn=step * 31
            )


def sticker(pen: Canvas, look: Appearance, x: float, y: float) -> None:
    """Puts a previous owner's sticker on some objects."""
    if look.chance(7, 0.3):
        paper = ((214, 70, 60), (70, 140, 90), (240, 200, 60), (80, 120, 200))[look.count(6, 0, 3)]
        pen.disc(x, y, 0.075, WHITE)
        pen.disc(x, y, 0.06, paper)
        pen.stroke([(x - 0.03, y), (x + 0.03, y)], BLACK, 0.012)
