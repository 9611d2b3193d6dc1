"""Canvas that draws the parts of a shape through a camera."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fb_marketplace.sample.rendering.shapes import LYING, SHAPES

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

Color: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]

_GROUND = 0.85
_FIXED_COLORS: dict[str, Color] = {
    "K": (30, 30, 34),
    "W": (242, 241, 237),
    "S": (168, 173, 178),
    "G": (38, 46, 58),
    "I": (176, 194, 204),
    "V": (64, 122, 62),
    "Y": (206, 178, 96),
    "C": (186, 142, 94),
}
"""Black, white, steel, dark glass, light glass, leaf green, brass and cardboard."""


@dataclass(frozen=True)
class Appearance:
    """Appearance of a product, the same in all its photos.

    Attributes:
        shape: a key of `SHAPES`.
        style: 0 to 2; decides which parts it has.
        stretch: factors on its width and height.
        body: main colour.
        accent: the brand's colour, on patterns, buttons and labels.
        trim: colour of legs, handles and frames.
        texture: texture of its material; None if it is smooth.
        pattern: 0 none, 1 stripes, 2 bands, 3 dots, 4 checks.
        brand: name on the label.
        size: 0 small, 1 usual, 2 large.
        wear: 0 as new to 1 worn out.
        room: seed of the seller's room.
    """

    shape: str
    style: int
    stretch: Point
    body: Color
    accent: Color
    trim: Color
    texture: str | None
    pattern: int
    brand: str
    size: int
    wear: float
    room: int

    @property
    def lies(self) -> bool:
        """Whether it lies flat, seen from above."""
        return self.shape in LYING


def shade(color: Color, factor: float) -> Color:
    """Return a darker colour (factor below 1), or one nearer to white (factor above 1)."""
    if factor <= 1.0:
        red, green, blue = (int(channel * factor) for channel in color)
    else:
        share = min(factor - 1.0, 1.0)
        red, green, blue = (int(channel + (255 - channel) * share) for channel in color)
    return red, green, blue


@dataclass(frozen=True)
class Camera:
    """Projection from an object's space to pixels.

    Attributes:
        centre: pixel of the object's (0, 0).
        scale: pixels per unit.
        turn: rotation in the picture's plane, in radians, clockwise.
        squeeze: relative width of the object (a rotation about the vertical axis).
        shear: units of x per unit of y.
        fall: perspective along x and y; 0 is a camera infinitely far away.
    """

    centre: Point
    scale: float
    turn: float = 0.0
    squeeze: float = 1.0
    shear: float = 0.0
    fall: Point = (0.0, 0.0)

    def matrix(self) -> NDArray[np.float64]:
        """Return the homography from the object's space to pixels, (3, 3)."""
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        lean = np.array([[self.squeeze, self.shear, 0.0], [0.0, 1.0, 0.0], [*self.fall, 1.0]])
        place = np.array(
            [
                [self.scale * cos, -self.scale * sin, self.centre[0]],
                [self.scale * sin, self.scale * cos, self.centre[1]],
                [0.0, 0.0, 1.0],
            ]
        )
        product: NDArray[np.float64] = place @ lean
        return product


class Canvas:
    """Canvas in an object's space. The methods for parts take a colour and the part's numbers.

    Args:
        picture: RGB or RGBA picture to draw on, changed in place.
        camera: projection from the object's space to pixels.
        look: appearance of the object.
    """

    def __init__(self, picture: Image.Image, camera: Camera, look: Appearance) -> None:
        from PIL import ImageDraw

        self._draw = ImageDraw.Draw(picture)
        self._matrix = camera.matrix().tolist()
        self._camera, self._look = camera, look
        self._colors = {**_FIXED_COLORS, "B": look.body, "A": look.accent, "M": look.trim}
        self._ground = 0.0 if look.lies else _GROUND
        self._x = self._dx = self._dy = 0.0

    def draw_object(self) -> None:
        """Draw all parts of the object's shape."""
        for part in SHAPES[self._look.shape]:
            if str(self._look.style) not in part.styles:
                continue
            color = shade(self._colors[part.color], part.brightness)
            columns, rows, dx, dy = part.grid
            for number in range(columns * rows):
                # A grid with one row steps along both axes, like stairs.
                column, row = number % columns, number // columns
                self._dx, self._dy = column * dx, (row if rows > 1 else column) * dy
                for self._x in (1.0, -1.0) if part.mirrored else (1.0,):
                    getattr(self, part.primitive)(color, *part.numbers)

    def poly(self, color: Color, *numbers: float) -> None:
        """Fill a polygon: x and y of each corner."""
        self._fill(color, _points(numbers))

    def line(self, color: Color, width: float, *numbers: float) -> None:
        """Draw a line with round ends: its width, then x and y of each point."""
        self._stroke(color, width, _points(numbers))

    def box(
        self, color: Color, x0: float, y0: float, x1: float, y1: float, corner: float = 0.0
    ) -> None:
        """Fill a box with round corners."""
        if not corner:
            self.poly(color, x0, y0, x1, y0, x1, y1, x0, y1)
            return
        corner = min(corner, (x1 - x0) / 2, (y1 - y0) / 2)
        centres = ((x1, y0, -90), (x1, y1, 0), (x0, y1, 90), (x0, y0, 180))
        middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
        self._fill(
            color,
            [
                (
                    x + math.copysign(corner, middle_x - x) + corner * _COS[(start + step) % 360],
                    y + math.copysign(corner, middle_y - y) + corner * _SIN[(start + step) % 360],
                )
                for x, y, start in centres
                for step in (0, 30, 60, 90)
            ],
        )

    def disc(self, color: Color, x: float, y: float, radius: float, flat: float = 1.0) -> None:
        """Fill an ellipse, `flat` times as high as wide."""
        self._fill(color, _ellipse(x, y, radius, radius * flat))

    def ring(
        self, color: Color, x: float, y: float, radius: float, width: float, flat: float = 1.0
    ) -> None:
        """Draw the outline of an ellipse."""
        outline = _ellipse(x, y, radius, radius * flat)
        self._stroke(color, width, [*outline, outline[0]])

    def arc(
        self, color: Color, x: float, y: float, radius: float, width: float, *span: float
    ) -> None:
        """Draw part of a circle between two angles, in hundreds of degrees clockwise from the right."""
        start, end = (round(angle * 100) for angle in span)
        angles = (*range(start, end, 12), end)
        self._stroke(
            color,
            width,
            [(x + radius * _COS[one % 360], y + radius * _SIN[one % 360]) for one in angles],
        )

    def wheel(self, color: Color, x: float, y: float, radius: float) -> None:
        """Draw a wheel with a tyre and spokes."""
        self.ring(color, x, y, radius, 0.06)
        self.ring(_FIXED_COLORS["S"], x, y, radius - 0.04, 0.015)
        for angle in range(0, 180, 30):
            dx, dy = radius * _COS[angle], radius * _SIN[angle]
            self.line(_FIXED_COLORS["S"], 0.01, x - dx, y - dy, x + dx, y + dy)

    def art(self, color: Color, x0: float, y0: float, x1: float, y1: float) -> None:
        """Fill a box with the product's pattern, if it has one."""
        pattern, count = self._look.pattern, 3 + self._look.style
        wide, high = (x1 - x0) / count, (y1 - y0) / count
        for step in range(count):
            x, y = x0 + wide * step, y0 + high * step
            if pattern in {1, 4}:
                self.box(color, x + wide * 0.3, y0, x + wide * 0.6, y1)
            if pattern in {2, 4}:
                self.box(shade(color, 0.8), x0, y + high * 0.3, x1, y + high * 0.6)
            if pattern == 3:
                for row in range(count):
                    self.disc(color, x + wide / 2, y0 + high * (row + 0.5), wide * 0.27)

    def logo(self, color: Color, x: float, y: float, size: float) -> None:
        """Write the brand's name, `size` units high, centred at (x, y)."""
        from PIL import ImageFont

        height = size * self._camera.scale
        if height >= 6:
            (centre,) = self._pixels([(x, y)])
            font = ImageFont.load_default(round(height))
            self._draw.text(centre, self._look.brand, fill=color, font=font, anchor="mm")

    def scratch(self, count: int, rng: np.random.Generator) -> None:
        """Draw scratches and stains at random places."""
        for step, (x, y, dx, dy) in enumerate(rng.uniform(-0.7, 0.7, (count, 4)).tolist()):
            ink = shade(self._look.body, 1.6 if step % 2 else 0.5)
            self.line(ink, 0.014, x, y, x + dx * 0.3, y + dy * 0.3)
            if step % 3 == 2:
                self.disc(shade(self._look.body, 0.6), x, y, abs(dx) * 0.15, 0.6)

    def _fill(self, color: Color, points: Sequence[Point]) -> None:
        self._draw.polygon(self._pixels(points), fill=color)

    def _stroke(self, color: Color, width: float, points: Sequence[Point]) -> None:
        pixels = self._pixels(points)
        thick = max(1, round(width * self._camera.scale))
        self._draw.line(pixels, fill=color, width=thick, joint="curve")
        if thick > 3:
            half = thick / 2
            for x, y in (pixels[0], pixels[-1]):
                self._draw.ellipse((x - half, y - half, x + half, y + half), fill=color)

    def _pixels(self, points: Sequence[Point]) -> list[Point]:
        (a, b, c), (d, e, f), (g, h, i) = self._matrix
        wide, tall = self._look.stretch
        pixels: list[Point] = []
        for point_x, point_y in points:
            x = (point_x + self._dx) * self._x * wide
            y = self._ground - (self._ground - point_y - self._dy) * tall
            depth = g * x + h * y + i
            pixels.append(((a * x + b * y + c) / depth, (d * x + e * y + f) / depth))
        return pixels


_COS = tuple(math.cos(math.radians(angle)) for angle in range(360))
_SIN = tuple(math.sin(math.radians(angle)) for angle in range(360))


def _points(numbers: Sequence[float]) -> list[Point]:
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _ellipse(x: float, y: float, wide: float, high: float) -> list[Point]:
    step = 12 if max(wide, high) > 0.15 else 24
    return [(x + wide * _COS[angle], y + high * _SIN[angle]) for angle in range(0, 360, step)]
