"""Baby things, toys and books."""

import math

from fb_marketplace.sample.rendering.appearance import Appearance, mark, pattern, sticker
from fb_marketplace.sample.rendering.canvas import BLACK, STEEL, WHITE, Canvas, shade


def pram(canvas: Canvas, look: Appearance) -> None:
    """Draw a pram or pushchair."""
    hood = look.between(4, 0.4, 0.52)
    canvas.stroke([(0.1, 0.3), (-0.45, 0.72)], look.trim, 0.05)
    canvas.stroke([(-0.2, 0.3), (0.4, 0.72)], look.trim, 0.05)
    canvas.stroke([(0.34, 0.2), (0.72, -0.5), (0.88, -0.52)], look.trim, 0.055)
    canvas.shape([(-0.7, -0.1), (0.55, -0.1), (0.4, 0.32), (-0.48, 0.34)], look.body)
    canvas.shape([(-0.7, -0.1), (0.55, -0.1), (0.53, 0.0), (-0.66, 0.0)], shade(look.body, 1.25))
    folds = look.count(5, 3, 6)
    for fold in range(folds):
        color = shade(look.accent, 0.75 + 0.45 * fold / folds)
        start, end = (180 + fold * 95 // folds, 180 + (fold + 1) * 95 // folds)
        arc = [
            (
                0.02 + 1.25 * hood * math.cos(math.radians(angle)),
                -0.1 + 1.3 * hood * math.sin(math.radians(angle)),
            )
            for angle in range(start, end + 1, 6)
        ]
        canvas.shape(
            [
                (0.02, -0.1),
                *arc,
                (
                    0.02 + 1.25 * hood * math.cos(math.radians(end)),
                    -0.1 + 1.3 * hood * math.sin(math.radians(end)),
                ),
            ],
            color,
        )
    radius = (0.16, 0.2, 0.26)[look.size]
    for x in (-0.45, 0.4):
        canvas.disc(x, 0.74, radius, BLACK)
        canvas.disc(x, 0.74, radius * 0.72, shade(STEEL, 1.1))
        for spoke in range(look.count(6, 3, 6)):
            angle = spoke * 1.1
            canvas.stroke(
                [
                    (x, 0.74),
                    (x + radius * 0.7 * math.cos(angle), 0.74 + radius * 0.7 * math.sin(angle)),
                ],
                (90, 90, 94),
                0.02,
            )
    mark(canvas, look, -0.05, 0.14, 0.12)


def toy_car(canvas: Canvas, look: Appearance) -> None:
    """Draw a toy car."""
    wide = (0.68, 0.8, 0.95)[look.size]
    canvas.shape(
        [(-wide * 0.5, -0.05), (-wide * 0.3, -0.42), (wide * 0.35, -0.42), (wide * 0.62, -0.05)],
        shade(look.body, 0.9),
    )
    canvas.shape(
        [(-wide * 0.42, -0.06), (-wide * 0.25, -0.35), (0, -0.35), (0, -0.06)], (150, 190, 214)
    )
    canvas.shape(
        [(0.06, -0.06), (0.06, -0.35), (wide * 0.3, -0.35), (wide * 0.5, -0.06)], (150, 190, 214)
    )
    canvas.box(-wide, -0.08, wide, 0.34, look.body, 0.14)
    stripe = look.between(4, 0.0, 0.2)
    canvas.box(-wide + 0.03, stripe, wide - 0.03, stripe + 0.07, look.accent)
    canvas.disc(-wide + 0.08, 0.06, 0.06, (250, 226, 140))
    radius = look.between(5, 0.17, 0.25)
    for x in (-wide * 0.55, wide * 0.55):
        canvas.disc(x, 0.36, radius, BLACK)
        canvas.disc(x, 0.36, radius * 0.55, look.trim)
    sticker(canvas, look, 0.05, 0.2)
    mark(canvas, look, wide * 0.3, 0.16, 0.12)


def teddy(canvas: Canvas, look: Appearance) -> None:
    """Draw a teddy bear."""
    size = (0.75, 0.88, 1.0)[look.size]
    for side in (-1, 1):
        canvas.disc(side * 0.26 * size, -0.74 * size, 0.14 * size, look.body)
        canvas.disc(side * 0.26 * size, -0.74 * size, 0.08 * size, shade(look.body, 1.4))
        canvas.disc(
            side * 0.52 * size,
            0.1 * size,
            0.15 * size,
            shade(look.body, 0.92),
            flat=1.7,
            turn=(-side * 30) % 360,
        )
        canvas.disc(side * 0.36 * size, 0.72 * size, 0.2 * size, shade(look.body, 0.95), flat=1.1)
        canvas.disc(side * 0.38 * size, 0.76 * size, 0.11 * size, shade(look.body, 1.4))
    canvas.disc(0, 0.28 * size, 0.46 * size, look.body, flat=1.1)
    canvas.disc(
        0, 0.32 * size, look.between(4, 0.2, 0.32) * size, shade(look.body, 1.35), flat=1.15
    )
    canvas.disc(0, -0.46 * size, 0.38 * size, shade(look.body, 1.05), flat=0.92)
    canvas.disc(0, -0.36 * size, 0.17 * size, shade(look.body, 1.5), flat=0.8)
    for side in (-1, 1):
        canvas.disc(side * 0.14 * size, -0.54 * size, 0.04 * size, BLACK)
    canvas.disc(0, -0.42 * size, 0.06 * size, BLACK, flat=0.7)
    if look.chance(5, 0.6):
        for side in (-1, 1):
            canvas.shape(
                [
                    (0, -0.1 * size),
                    (side * 0.22 * size, -0.2 * size),
                    (side * 0.22 * size, 0.02 * size),
                ],
                look.accent,
            )
        canvas.disc(0, -0.1 * size, 0.06 * size, shade(look.accent, 0.8))


def cot(canvas: Canvas, look: Appearance) -> None:
    """Draw a cot with bars."""
    wide = (0.62, 0.78, 0.92)[look.size]
    canvas.box(-wide + 0.1, -0.5, wide - 0.1, 0.4, shade(look.accent, 1.3))
    bars = look.count(4, 7, 12)
    canvas.box(-wide + 0.05, 0.12, wide - 0.05, 0.4, WHITE, 0.05)
    for bar in range(bars + 1):
        x = -wide + 2 * wide * bar / bars
        canvas.box(x - 0.022, -0.44, x + 0.022, 0.5, look.body)
    canvas.box(-wide - 0.05, -0.54, wide + 0.05, -0.42, shade(look.body, 1.1), 0.03)
    canvas.box(-wide - 0.05, 0.44, wide + 0.05, 0.62, look.body, 0.02)
    for x in (-wide, wide):
        canvas.box(
            x - 0.06, look.between(5, -0.8, -0.56), x + 0.06, 0.84, shade(look.body, 0.9), 0.03
        )
    pattern(canvas, look, -wide * 0.5, 0.47, wide * 0.5, 0.6)


def books(canvas: Canvas, look: Appearance) -> None:
    """Draw a pile of books or records."""
    number = (3, 5, 8)[look.size]
    y = 0.8
    inks = (look.body, look.accent, look.trim, shade(look.body, 1.4), shade(look.accent, 0.6))
    for book in range(number):
        thick = 0.09 + 0.1 * look.details[book % 8]
        wide = 0.5 + 0.22 * look.details[(book * 3 + 1) % 8]
        shift = (look.details[(book * 5 + 2) % 8] - 0.5) * 0.22
        cover = inks[(book + look.count(4, 0, 4)) % 5]
        canvas.box(shift - wide, y - thick, shift + wide, y, cover, 0.015)
        canvas.box(
            shift - wide + 0.1, y - thick + 0.02, shift - wide + 0.14, y - 0.02, shade(cover, 1.5)
        )
        canvas.box(
            shift + wide - 0.4, y - thick * 0.62, shift + wide - 0.1, y - thick * 0.38, WHITE
        )
        y -= thick + 0.006
