"""Instruments, records and what plays them, drawn."""

from __future__ import annotations

from fb_marketplace.sample.rendering.appearance import Appearance, mark, pattern
from fb_marketplace.sample.rendering.canvas import BLACK, STEEL, WHITE, Canvas, adjust_brightness


def guitar(pen: Canvas, look: Appearance) -> None:
    """A guitar."""
    size = (0.8, 0.9, 1.0)[look.size]
    pen.box(-0.055, -0.78 * size, 0.055, 0.2, look.trim)
    for fret in range(look.count(4, 6, 12)):
        pen.box(-0.055, -0.7 * size + fret * 0.07, 0.055, -0.69 * size + fret * 0.07, STEEL)
    pen.shape(
        [(-0.1, -0.96 * size), (0.1, -0.92 * size), (0.07, -0.74 * size), (-0.07, -0.74 * size)],
        adjust_brightness(look.trim, 0.7),
    )
    if look.chance(5, 0.5):
        pen.disc(0, 0.58, 0.4 * size, adjust_brightness(look.body, 0.7), flat=0.86)
        pen.disc(0, 0.16, 0.29 * size, adjust_brightness(look.body, 0.7), flat=0.86)
        pen.disc(0, 0.58, 0.37 * size, look.body, flat=0.86)
        pen.disc(0, 0.16, 0.26 * size, look.body, flat=0.86)
        pen.disc(0, 0.3, 0.13, (36, 28, 24))
        pen.ring(0, 0.3, 0.15, look.accent, 0.025)
        pen.box(-0.16, 0.66, 0.16, 0.72, look.trim)
    else:
        pen.shape(
            [
                (-0.36, -0.06),
                (-0.1, 0.14),
                (0.1, 0.14),
                (0.3, 0.0),
                (0.26, 0.36),
                (0.4, 0.8),
                (0.1, 0.94),
                (-0.28, 0.9),
                (-0.42, 0.66),
                (-0.28, 0.36),
            ],
            look.body,
        )
        pen.shape(
            [(-0.06, 0.2), (0.2, 0.2), (0.24, 0.7), (0.05, 0.8)],
            adjust_brightness(look.accent, 1.1),
        )
        for pickup in range(look.count(6, 1, 3)):
            pen.box(-0.14, 0.32 + pickup * 0.15, 0.14, 0.38 + pickup * 0.15, BLACK)
    for string in range(4):
        x = -0.036 + string * 0.024
        pen.stroke([(x, -0.8 * size), (x, 0.69)], (214, 210, 196), 0.006)
    for peg in range(3):
        pen.disc(-0.12, (-0.92 + peg * 0.06) * size, 0.022, STEEL)
        pen.disc(0.12, (-0.9 + peg * 0.06) * size, 0.022, STEEL)


def record(pen: Canvas, look: Appearance) -> None:
    """A record half out of its sleeve."""
    pen.disc(look.between(4, 0.25, 0.45), 0, 0.58, BLACK)
    for groove in range(look.count(5, 2, 5)):
        pen.ring(look.between(4, 0.25, 0.45), 0, 0.26 + groove * 0.07, (52, 52, 56), 0.012)
    pen.disc(look.between(4, 0.25, 0.45), 0, 0.18, look.accent)
    pen.box(-0.85, -0.62, 0.38, 0.62, look.body)
    pattern(pen, look, -0.8, -0.56, 0.32, 0.2)
    pen.disc(
        look.between(6, -0.5, 0.0),
        look.between(7, -0.2, 0.2),
        (0.16, 0.24, 0.34)[look.size],
        look.trim,
    )
    pen.box(-0.75, 0.4, -0.1, 0.48, WHITE)


def speaker(pen: Canvas, look: Appearance) -> None:
    """A loudspeaker, or a pair."""
    pair = look.size == 2
    for x in (-0.45, 0.45) if pair else (0.0,):
        wide = 0.38 if pair else (0.42, 0.52)[look.size]
        pen.shape(
            [
                (x + wide, -0.85),
                (x + wide + 0.09, -0.78),
                (x + wide + 0.09, 0.78),
                (x + wide, 0.85),
            ],
            adjust_brightness(look.body, 0.55),
        )
        pen.box(x - wide, -0.85, x + wide, 0.85, look.body, 0.03)
        cones = look.count(4, 1, 3)
        for cone in range(cones):
            radius = min(wide * 0.75, 0.7 / cones) * (0.6 + 0.4 * (cone + 1) / cones)
            y = -0.72 + 1.4 * (cone + 0.55) / cones
            pen.disc(x, y, radius, adjust_brightness(look.trim, 0.8))
            pen.disc(x, y, radius * 0.86, BLACK)
            pen.ring(x, y, radius * 0.6, (62, 62, 66), 0.02)
            pen.disc(x, y, radius * 0.3, look.accent if look.chance(5, 0.4) else (70, 70, 74))
        mark(pen, look, x, 0.77, 0.05)


def headphones(pen: Canvas, look: Appearance) -> None:
    """Over-ear headphones."""
    wide = (0.5, 0.58, 0.66)[look.size]
    pen.arc(0, 0.1, wide, look.body, 0.13, (180, 360))
    pen.arc(0, 0.1, wide - 0.05, look.accent, 0.03, (190, 350))
    for side in (-1, 1):
        x = side * wide
        pen.box(x - 0.05, -0.05, x + 0.05, 0.25, STEEL, 0.02)
        cup = look.between(4, 0.2, 0.27)
        pen.disc(x - side * 0.08, 0.36, cup, BLACK, flat=1.35)
        pen.disc(x, 0.36, cup * 0.85, look.body, flat=1.4)
        pen.disc(x + side * 0.03, 0.36, cup * 0.55, adjust_brightness(look.body, 1.2), flat=1.4)
        mark(pen, look, x + side * 0.03, 0.36, 0.1)
    if look.chance(5, 0.5):
        pen.stroke([(-wide, 0.6), (-wide + 0.1, 0.85), (0.1, 0.75), (0.3, 0.9)], BLACK, 0.025)
