"""Appearance of a product, and details that all objects share: logo, pattern, wear, sticker."""

from dataclasses import dataclass

from fb_marketplace.sample.rendering.canvas import BLACK, WHITE, Canvas, Color, shade

LOGOS = ("dot", "bar", "wedge", "twin", "ring", "cross", "wave", "square")


@dataclass(frozen=True)
class Appearance:
    """Appearance of a product, the same in all its photos.

    Attributes:
        body: main colour.
        accent: the brand's second colour, on seams, buttons and stripes.
        trim: colour of legs, handles and frames.
        logo: the brand's logo, one of `LOGOS`.
        size: 0 small, 1 usual, 2 large; changes proportions, not only scale.
        wear: 0 as new to 1 worn out.
        details: eight numbers in [0, 1) that vary its shape and pattern.
    """

    body: Color
    accent: Color
    trim: Color
    logo: str
    size: int
    wear: float
    details: tuple[float, ...]

    def count(self, detail: int, minimum: int, maximum: int) -> int:
        """Return a detail as an integer from minimum to maximum."""
        return minimum + int(self.details[detail] * (maximum - minimum + 1))

    def between(self, detail: int, low: float, high: float) -> float:
        """Return a detail as a number between low and high."""
        return low + self.details[detail] * (high - low)

    def chance(self, detail: int, share: float) -> bool:
        """Return whether a detail is below a share."""
        return self.details[detail] < share


def mark(canvas: Canvas, look: Appearance, x: float, y: float, size: float) -> None:
    """Draw the brand's logo, `size` units high, centred at (x, y)."""
    ink = look.accent
    half = size / 2
    if look.logo == "dot":
        canvas.disc(x, y, half, ink)
    elif look.logo == "bar":
        canvas.box(x - size, y - half / 2, x + size, y + half / 2, ink)
    elif look.logo == "wedge":
        canvas.shape([(x - half, y + half), (x + half, y + half), (x + half, y - half)], ink)
    elif look.logo == "twin":
        canvas.disc(x - half, y, half * 0.7, ink)
        canvas.disc(x + half, y, half * 0.7, ink)
    elif look.logo == "ring":
        canvas.ring(x, y, half * 0.9, ink, size * 0.2)
    elif look.logo == "cross":
        canvas.box(x - half, y - half / 3, x + half, y + half / 3, ink)
        canvas.box(x - half / 3, y - half, x + half / 3, y + half, ink)
    elif look.logo == "wave":
        canvas.stroke(
            [(x - size, y), (x - half, y - half), (x, y), (x + half, y + half), (x + size, y)],
            ink,
            size * 0.25,
        )
    else:
        canvas.box(x - half, y - half, x + half, y + half, ink)


def pattern(canvas: Canvas, look: Appearance, x0: float, y0: float, x1: float, y1: float) -> None:
    """Draw the product's pattern in a box: stripes, bands, dots, one band, or none."""
    kind = look.count(0, 0, 4)
    ink = shade(look.accent, 0.85) if look.chance(1, 0.5) else shade(look.body, 1.35)
    wide, high = x1 - x0, y1 - y0
    number = look.count(2, 2, 6)
    if kind == 1:
        for step in range(number):
            left = x0 + wide * (step + 0.3) / number
            canvas.box(left, y0, left + wide * 0.35 / number, y1, ink)
    elif kind == 2:
        for step in range(number):
            top = y0 + high * (step + 0.3) / number
            canvas.box(x0, top, x1, top + high * 0.3 / number, ink)
    elif kind == 3:
        for row in range(number):
            for column in range(number):
                canvas.disc(
                    x0 + wide * (column + 0.5) / number,
                    y0 + high * (row + 0.5) / number,
                    min(wide, high) * 0.22 / number,
                    ink,
                )
    elif kind == 4:
        top = look.between(3, 0.25, 0.7)
        canvas.box(x0, y0 + high * top, x1, y0 + high * (top + 0.16), ink)


def wear(canvas: Canvas, look: Appearance) -> None:
    """Draw scratches, scuffs and stains over an object, by its wear."""
    number = int(look.wear * 16)
    for step in range(number):
        a, b, c = (look.details[(step * 3 + part) % 8] * 7.31 + step * 0.37 for part in range(3))
        x, y = (a % 1.0) * 1.2 - 0.6, (b % 1.0) * 1.2 - 0.6
        long = 0.06 + 0.16 * (c % 1.0)
        ink = shade(look.body, 1.55 if step % 2 else 0.55)
        canvas.stroke(
            [(x, y), (x + long * (c % 0.7), y + long * 0.6), (x + long, y + long * 0.5)], ink, 0.012
        )
        if step % 5 == 4:
            canvas.disc(x, y + 0.1, long * 0.4, shade(look.body, 0.6), flat=0.6, turn=step * 31)


def sticker(canvas: Canvas, look: Appearance, x: float, y: float) -> None:
    """Draw a sticker on some objects."""
    if look.chance(7, 0.3):
        paper = ((214, 70, 60), (70, 140, 90), (240, 200, 60), (80, 120, 200))[look.count(6, 0, 3)]
        canvas.disc(x, y, 0.075, WHITE)
        canvas.disc(x, y, 0.06, paper)
        canvas.stroke([(x - 0.03, y), (x + 0.03, y)], BLACK, 0.012)
