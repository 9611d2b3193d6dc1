"""Instruments, records and speakers."""

from fb_marketplace.sample.rendering.appearance import Appearance, mark, pattern
from fb_marketplace.sample.rendering.canvas import BLACK, STEEL, WHITE, Canvas, shade


def guitar(canvas: Canvas, look: Appearance) -> None:
    """Draw a guitar."""
    size = (0.8, 0.9, 1.0)[look.size]
    canvas.box(-0.055, -0.78 * size, 0.055, 0.2, look.trim)
    for fret in range(look.count(4, 6, 12)):
        canvas.box(-0.055, -0.7 * size + fret * 0.07, 0.055, -0.69 * size + fret * 0.07, STEEL)
    canvas.shape(
        [(-0.1, -0.96 * size), (0.1, -0.92 * size), (0.07, -0.74 * size), (-0.07, -0.74 * size)],
        shade(look.trim, 0.7),
    )
    if look.chance(5, 0.5):
        canvas.disc(0, 0.58, 0.4 * size, shade(look.body, 0.7), flat=0.86)
        canvas.disc(0, 0.16, 0.29 * size, shade(look.body, 0.7), flat=0.86)
        canvas.disc(0, 0.58, 0.37 * size, look.body, flat=0.86)
        canvas.disc(0, 0.16, 0.26 * size, look.body, flat=0.86)
        canvas.disc(0, 0.3, 0.13, (36, 28, 24))
        canvas.ring(0, 0.3, 0.15, look.accent, 0.025)
        canvas.box(-0.16, 0.66, 0.16, 0.72, look.trim)
    else:
        canvas.shape(
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
        canvas.shape([(-0.06, 0.2), (0.2, 0.2), (0.24, 0.7), (0.05, 0.8)], shade(look.accent, 1.1))
        for pickup in range(look.count(6, 1, 3)):
            canvas.box(-0.14, 0.32 + pickup * 0.15, 0.14, 0.38 + pickup * 0.15, BLACK)
    for string in range(4):
        x = -0.036 + string * 0.024
        canvas.stroke([(x, -0.8 * size), (x, 0.69)], (214, 210, 196), 0.006)
    for peg in range(3):
        canvas.disc(-0.12, (-0.92 + peg * 0.06) * size, 0.022, STEEL)
        canvas.disc(0.12, (-0.9 + peg * 0.06) * size, 0.022, STEEL)


def record(canvas: Canvas, look: Appearance) -> None:
    """Draw a record half out of its sleeve."""
    canvas.disc(look.between(4, 0.25, 0.45), 0, 0.58, BLACK)
    for groove in range(look.count(5, 2, 5)):
        canvas.ring(look.between(4, 0.25, 0.45), 0, 0.26 + groove * 0.07, (52, 52, 56), 0.012)
    canvas.disc(look.between(4, 0.25, 0.45), 0, 0.18, look.accent)
    canvas.box(-0.85, -0.62, 0.38, 0.62, look.body)
    pattern(canvas, look, -0.8, -0.56, 0.32, 0.2)
    canvas.disc(
        look.between(6, -0.5, 0.0),
        look.between(7, -0.2, 0.2),
        (0.16, 0.24, 0.34)[look.size],
        look.trim,
    )
    canvas.box(-0.75, 0.4, -0.1, 0.48, WHITE)


def speaker(canvas: Canvas, look: Appearance) -> None:
    """Draw a loudspeaker, or a pair."""
    pair = look.size == 2
    for x in (-0.45, 0.45) if pair else (0.0,):
        wide = 0.38 if pair else (0.42, 0.52)[look.size]
        canvas.shape(
            [
                (x + wide, -0.85),
                (x + wide + 0.09, -0.78),
                (x + wide + 0.09, 0.78),
                (x + wide, 0.85),
            ],
            shade(look.body, 0.55),
        )
        canvas.box(x - wide, -0.85, x + wide, 0.85, look.body, 0.03)
        cones = look.count(4, 1, 3)
        for cone in range(cones):
            radius = min(wide * 0.75, 0.7 / cones) * (0.6 + 0.4 * (cone + 1) / cones)
            y = -0.72 + 1.4 * (cone + 0.55) / cones
            canvas.disc(x, y, radius, shade(look.trim, 0.8))
            canvas.disc(x, y, radius * 0.86, BLACK)
            canvas.ring(x, y, radius * 0.6, (62, 62, 66), 0.02)
            canvas.disc(x, y, radius * 0.3, look.accent if look.chance(5, 0.4) else (70, 70, 74))
        mark(canvas, look, x, 0.77, 0.05)


def headphones(canvas: Canvas, look: Appearance) -> None:
    """Draw over-ear headphones."""
    wide = (0.5, 0.58, 0.66)[look.size]
    canvas.arc(0, 0.1, wide, look.body, 0.13, (180, 360))
    canvas.arc(0, 0.1, wide - 0.05, look.accent, 0.03, (190, 350))
    for side in (-1, 1):
        x = side * wide
        canvas.box(x - 0.05, -0.05, x + 0.05, 0.25, STEEL, 0.02)
        cup = look.between(4, 0.2, 0.27)
        canvas.disc(x - side * 0.08, 0.36, cup, BLACK, flat=1.35)
        canvas.disc(x, 0.36, cup * 0.85, look.body, flat=1.4)
        canvas.disc(x + side * 0.03, 0.36, cup * 0.55, shade(look.body, 1.2), flat=1.4)
        mark(canvas, look, x + side * 0.03, 0.36, 0.1)
    if look.chance(5, 0.5):
        canvas.stroke([(-wide, 0.6), (-wide + 0.1, 0.85), (0.1, 0.75), (0.3, 0.9)], BLACK, 0.025)
