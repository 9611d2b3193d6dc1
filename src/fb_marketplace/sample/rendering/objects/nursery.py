"""Things for children, and things to read, drawn."""

from __future__ import annotations

import math

from fb_marketplace.sample.rendering.appearance import Appearance, mark, pattern, sticker
from fb_marketplace.sample.rendering.canvas import BLACK, STEEL, WHITE, Canvas, adjust_brightness


def pram(pen: Canvas, look: Appearance) -> None:
    """A pram or pushchair."""
    hood = look.between(4, 0.4, 0.52)
    pen.stroke([(0.1, 0.3), (-0.45, 0.72)], look.trim, 0.05)
    pen.stroke([(-0.2, 0.3), (0.4, 0.72)], look.trim, 0.05)
    pen.stroke([(0.34, 0.2), (0.72, -0.5), (0.88, -0.52)], look.trim, 0.055)
    pen.shape([(-0.7, -0.1), (0.55, -0.1), (0.4, 0.32), (-0.48, 0.34)], look.body)
    pen.shape(
        [(-0.7, -0.1), (0.55, -0.1), (0.53, 0.0), (-0.66, 0.0)], adjust_brightness(look.body, 1.25)
    )
    folds = look.count(5, 3, 6)
    for fold in range(folds):
        shade = adjust_brightness(look.accent, 0.75 + 0.45 * fold / folds)
        start, end = (180 + fold * 95 // folds, 180 + (fold + 1) * 95 // folds)
        arc = [
            (
                0.02 + 1.25 * hood * math.cos(math.radians(angle)),
                -0.1 + 1.3 * hood * math.sin(math.radians(angle)),
            )
            for angle in range(start, end + 1, 6)
        ]
        pen.shape(
            [
                (0.02, -0.1),
                *arc,
                (
                    0.02 + 1.25 * hood * math.cos(math.radians(end)),
                    -0.1 + 1.3 * hood * math.sin(math.radians(end)),
                ),
            ],
            shade,
        )
    radius = (0.16, 0.2, 0.26)[look.size]
    for x in (-0.45, 0.4):
        pen.disc(x, 0.74, radius, BLACK)
        pen.disc(x, 0.74, radius * 0.72, adjust_brightness(STEEL, 1.1))
        for spoke in range(look.count(6, 3, 6)):
            angle = spoke * 1.1
            pen.stroke(
                [
                    (x, 0.74),
                    (x + radius * 0.7 * math.cos(angle), 0.74 + radius * 0.7 * math.sin(angle)),
                ],
                (90, 90, 94),
                0.02,
            )
    mark(pen, look, -0.05, 0.14, 0.12)


def toy_car(pen: Canvas, look: Appearance) -> None:
    """A toy car."""
    wide = (0.68, 0.8, 0.95)[look.size]
    pen.shape(
        [(-wide * 0.5, -0.05), (-wide * 0.3, -0.42), (wide * 0.35, -0.42), (wide * 0.62, -0.05)],
        adjust_brightness(look.body, 0.9),
    )
    pen.shape(
        [(-wide * 0.42, -0.06), (-wide * 0.25, -0.35), (0, -0.35), (0, -0.06)], (150, 190, 214)
    )
    pen.shape(
        [(0.06, -0.06), (0.06, -0.35), (wide * 0.3, -0.35), (wide * 0.5, -0.06)], (150, 190, 214)
    )
    pen.box(-wide, -0.08, wide, 0.34, look.body, 0.14)
    stripe = look.between(4, 0.0, 0.2)
    pen.box(-wide + 0.03, stripe, wide - 0.03, stripe + 0.07, look.accent)
    pen.disc(-wide + 0.08, 0.06, 0.06, (250, 226, 140))
    radius = look.between(5, 0.17, 0.25)
    for x in (-wide * 0.55, wide * 0.55):
        pen.disc(x, 0.36, radius, BLACK)
        pen.disc(x, 0.36, radius * 0.55, look.trim)
    sticker(pen, look, 0.05, 0.2)
    mark(pen, look, wide * 0.3, 0.16, 0.12)


def teddy(pen: Canvas, look: Appearance) -> None:
    """A teddy bear."""
    size = (0.75, 0.88, 1.0)[look.size]
    for side in (-1, 1):
        pen.disc(side * 0.26 * size, -0.74 * size, 0.14 * size, look.body)
        pen.disc(side * 0.26 * size, -0.74 * size, 0.08 * size, adjust_brightness(look.body, 1.4))
        pen.disc(
            side * 0.52 * size,
            0.1 * size,
            0.15 * size,
            adjust_brightness(look.body, 0.92),
            flat=1.7,
            turn=(-side * 30) % 360,
        )
        pen.disc(
            side * 0.36 * size,
            0.72 * size,
            0.2 * size,
            adjust_brightness(look.body, 0.95),
            flat=1.1,
        )
        pen.disc(side * 0.38 * size, 0.76 * size, 0.11 * size, adjust_brightness(look.body, 1.4))
    pen.disc(0, 0.28 * size, 0.46 * size, look.body, flat=1.1)
    pen.disc(
        0,
        0.32 * size,
        look.between(4, 0.2, 0.32) * size,
        adjust_brightness(look.body, 1.35),
        flat=1.15,
    )
    pen.disc(0, -0.46 * size, 0.38 * size, adjust_brightness(look.body, 1.05), flat=0.92)
    pen.disc(0, -0.36 * size, 0.17 * size, adjust_brightness(look.body, 1.5), flat=0.8)
    for side in (-1, 1):
        pen.disc(side * 0.14 * size, -0.54 * size, 0.04 * size, BLACK)
    pen.disc(0, -0.42 * size, 0.06 * size, BLACK, flat=0.7)
    if look.chance(5, 0.6):
        for side in (-1, 1):
            pen.shape(
                [
                    (0, -0.1 * size),
                    (side * 0.22 * size, -0.2 * size),
                    (side * 0.22 * size, 0.02 * size),
                ],
                look.accent,
            )
        pen.disc(0, -0.1 * size, 0.06 * size, adjust_brightness(look.accent, 0.8))


def cot(pen: Canvas, look: Appearance) -> None:
    """A cot with bars."""
    wide = (0.62, 0.78, 0.92)[look.size]
    pen.box(-wide + 0.1, -0.5, wide - 0.1, 0.4, adjust_brightness(look.accent, 1.3))
    bars = look.count(4, 7, 12)
    pen.box(-wide + 0.05, 0.12, wide - 0.05, 0.4, WHITE, 0.05)
    for bar in range(bars + 1):
        x = -wide + 2 * wide * bar / bars
        pen.box(x - 0.022, -0.44, x + 0.022, 0.5, look.body)
    pen.box(-wide - 0.05, -0.54, wide + 0.05, -0.42, adjust_brightness(look.body, 1.1), 0.03)
    pen.box(-wide - 0.05, 0.44, wide + 0.05, 0.62, look.body, 0.02)
    for x in (-wide, wide):
        pen.box(
            x - 0.06,
            look.between(5, -0.8, -0.56),
            x + 0.06,
            0.84,
            adjust_brightness(look.body, 0.9),
            0.03,
        )
    pattern(pen, look, -wide * 0.5, 0.47, wide * 0.5, 0.6)


def books(pen: Canvas, look: Appearance) -> None:
    """A pile of books or records."""
    number = (3, 5, 8)[look.size]
    y = 0.8
    inks = (
        look.body,
        look.accent,
        look.trim,
        adjust_brightness(look.body, 1.4),
        adjust_brightness(look.accent, 0.6),
    )
    for book in range(number):
        thick = 0.09 + 0.1 * look.details[book % 8]
        wide = 0.5 + 0.22 * look.details[(book * 3 + 1) % 8]
        shift = (look.details[(book * 5 + 2) % 8] - 0.5) * 0.22
        cover = inks[(book + look.count(4, 0, 4)) % 5]
        pen.box(shift - wide, y - thick, shift + wide, y, cover, 0.015)
        pen.box(
            shift - wide + 0.1,
            y - thick + 0.02,
            shift - wide + 0.14,
            y - 0.02,
            adjust_brightness(cover, 1.5),
        )
        pen.box(shift + wide - 0.4, y - thick * 0.62, shift + wide - 0.1, y - thick * 0.38, WHITE)
        y -= thick + 0.006
