"""Canvas that draws shapes of an object's space through a camera.

An object is described once, in a square of side 2 with its centre at (0, 0) and the y axis down. A camera
projects its points to pixels, so an object is sharp at any size and from any side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

Color: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]

BLACK: Color = (24, 24, 27)
WHITE: Color = (242, 241, 237)
STEEL: Color = (168, 173, 178)
GLASS: Color = (38, 46, 58)


def shade(colour: Color, factor: float) -> Color:
    """Return a darker colour (factor below 1), or one nearer to white (factor above 1)."""
    if factor <= 1.0:
        red, green, blue = (int(channel * factor) for channel in colour)
    else:
        share = min(factor - 1.0, 1.0)
        red, green, blue = (int(channel + (255 - channel) * share) for channel in colour)
    return red, green, blue


def blend(first: Color, second: Color, share: float) -> Color:
    """Return a mixture of two colours; `share` (0 to 1) is the share of the second."""
    red, green, blue = (int(a + (b - a) * share) for a, b in zip(first, second, strict=True))
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
    """Canvas in an object's space.

    Args:
        picture: RGB or RGBA picture to draw on, changed in place.
        camera: projection from the object's space to pixels.
    """

    def __init__(self, picture: Image.Image, camera: Camera) -> None:
        from PIL import ImageDraw

        self._draw = ImageDraw.Draw(picture)
        self._matrix = camera.matrix()
        self._scale = camera.scale

    def _pixels(self, points: Sequence[Point]) -> list[Point]:
        (a, b, c), (d, e, f), (g, h, i) = self._matrix.tolist()
        pixels: list[Point] = []
        for x, y in points:
            depth = g * x + h * y + i
            pixels.append(((a * x + b * y + c) / depth, (d * x + e * y + f) / depth))
        return pixels

    def shape(self, points: Sequence[Point], fill: Color) -> None:
        """Fill a polygon."""
        self._draw.polygon(self._pixels(points), fill=fill)

    def stroke(self, points: Sequence[Point], fill: Color, width: float) -> None:
        """Draw a line with round ends, `width` units wide."""
        pixels = self._pixels(points)
        thick = max(1, round(width * self._scale))
        self._draw.line(pixels, fill=fill, width=thick, joint="curve")
        if thick > 3:
            half = thick / 2
            for x, y in (pixels[0], pixels[-1]):
                self._draw.ellipse((x - half, y - half, x + half, y + half), fill=fill)

    def box(
        self, x0: float, y0: float, x1: float, y1: float, fill: Color, corner: float = 0.0
    ) -> None:
        """Fill a box with corners of radius `corner`."""
        if corner <= 0:
            self.shape([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill)
            return
        corner = min(corner, (x1 - x0) / 2, (y1 - y0) / 2)
        quarters = (
            (x1 - corner, y0 + corner, -90),
            (x1 - corner, y1 - corner, 0),
            (x0 + corner, y1 - corner, 90),
            (x0 + corner, y0 + corner, 180),
        )
        self.shape(
            [
                (x + corner * _COS[(start + step) % 360], y + corner * _SIN[(start + step) % 360])
                for x, y, start in quarters
                for step in (0, 22, 45, 68, 90)
            ],
            fill,
        )

    def disc(
        self, x: float, y: float, radius: float, fill: Color, flat: float = 1.0, turn: int = 0
    ) -> None:
        """Fill an ellipse, `flat` times as high as wide, rotated by `turn` degrees."""
        self.shape(_ellipse(x, y, radius, radius * flat, turn), fill)

    def ring(
        self, x: float, y: float, radius: float, fill: Color, width: float, flat: float = 1.0
    ) -> None:
        """Draw the outline of an ellipse, `width` units wide."""
        outline = _ellipse(x, y, radius, radius * flat, 0)
        self.stroke([*outline, outline[0]], fill, width)

    def arc(
        self, x: float, y: float, radius: float, fill: Color, width: float, span: tuple[int, int]
    ) -> None:
        """Draw part of a circle between two angles, in degrees clockwise from the right."""
        start, end = span
        self.stroke(
            [
                (x + radius * _COS[angle % 360], y + radius * _SIN[angle % 360])
                for angle in (*range(start, end, 9), end)
            ],
            fill,
            width,
        )

    def barrel(
        self, x0: float, y0: float, x1: float, y1: float, fill: Color, *, upright: bool = True
    ) -> None:
        """Fill a box shaded like a cylinder, upright or on its side."""
        strips = 9
        for strip in range(strips):
            near, far = strip / strips, (strip + 1) / strips
            strip_color = shade(
                fill, 0.62 + 0.75 * math.sin(math.pi * (0.12 + 0.8 * near)) ** 1.4 * 0.62
            )
            if upright:
                self.box(x0 + (x1 - x0) * near, y0, x0 + (x1 - x0) * far, y1, strip_color)
            else:
                self.box(x0, y0 + (y1 - y0) * near, x1, y0 + (y1 - y0) * far, strip_color)


_COS = tuple(math.cos(math.radians(angle)) for angle in range(360))
_SIN = tuple(math.sin(math.radians(angle)) for angle in range(360))


def _ellipse(x: float, y: float, wide: float, high: float, turn: int) -> list[Point]:
    cos, sin = _COS[turn % 360], _SIN[turn % 360]
    step = 12 if max(wide, high) > 0.15 else 24
    return [
        (
            x + wide * _COS[angle] * cos - high * _SIN[angle] * sin,
            y + wide * _COS[angle] * sin + high * _SIN[angle] * cos,
        )
        for angle in range(0, 360, step)
    ]
