"""Clothes and accessories."""

import math

from fb_marketplace.sample.rendering.appearance import Appearance, mark, pattern
from fb_marketplace.sample.rendering.canvas import BLACK, STEEL, WHITE, Canvas, shade


def dress(canvas: Canvas, look: Appearance) -> None:
    """Draw a dress, laid out or on its hanger."""
    hem = (0.45, 0.68, 0.92)[look.size]
    flare = look.between(4, 0.36, 0.66)
    canvas.arc(0, -0.92, 0.06, STEEL, 0.025, (150, 400))
    canvas.stroke([(-0.3, -0.7), (0, -0.84), (0.3, -0.7)], shade(look.trim, 0.9), 0.035)
    if look.chance(5, 0.5):
        for side in (-1, 1):
            canvas.shape(
                [
                    (side * 0.24, -0.74),
                    (side * 0.56, -0.42),
                    (side * 0.42, -0.28),
                    (side * 0.22, -0.46),
                ],
                shade(look.body, 0.85),
            )
    canvas.shape(
        [
            (-0.26, -0.74),
            (-0.12, -0.72),
            (0, -0.58),
            (0.12, -0.72),
            (0.26, -0.74),
            (0.2, -0.1),
            (flare, hem),
            (-flare, hem),
            (-0.2, -0.1),
        ],
        look.body,
    )
    pattern(canvas, look, -0.2, 0.0, 0.2, hem - 0.06)
    for fold in (-0.6, 0.1, 0.6):
        canvas.stroke(
            [(fold * 0.25, 0.0), (fold * flare, hem - 0.03)], shade(look.body, 0.78), 0.02
        )
    canvas.box(-0.2, -0.14, 0.2, -0.05, look.accent)


def shoe(canvas: Canvas, look: Appearance) -> None:
    """Draw a pair of trainers or boots."""
    ankle = (-0.2, -0.34, -0.75)[look.size]
    for dx, dy, light in ((0.12, -0.22, 0.75), (-0.06, 0.12, 1.0)):
        cloth = shade(look.body, light)
        canvas.shape(
            [
                (-0.8 + dx, 0.3 + dy),
                (-0.74 + dx, 0.1 + dy),
                (-0.2 + dx, -0.06 + dy),
                (0.12 + dx, ankle + dy),
                (0.58 + dx, ankle + dy),
                (0.66 + dx, 0.3 + dy),
            ],
            cloth,
        )
        canvas.box(-0.84 + dx, 0.26 + dy, 0.72 + dx, 0.42 + dy, shade(look.trim, light), 0.07)
        canvas.box(-0.84 + dx, 0.37 + dy, 0.72 + dx, 0.42 + dy, BLACK, 0.02)
        laces = look.count(4, 2, 5)
        for lace in range(laces):
            x = -0.24 + dx + lace * 0.08
            y = -0.02 + dy + (ankle * 0.8) * lace / laces
            canvas.stroke([(x, y), (x + 0.16, y + 0.06)], WHITE, 0.03)
        stripes = look.count(5, 1, 3)
        for stripe in range(stripes):
            x = 0.05 + dx + stripe * 0.12
            canvas.shape(
                [(x, 0.26 + dy), (x + 0.06, 0.26 + dy), (x + 0.16, 0.0 + dy), (x + 0.1, 0.0 + dy)],
                look.accent,
            )
        mark(canvas, look, 0.5 + dx, 0.12 + dy, 0.08)


def coat(canvas: Canvas, look: Appearance) -> None:
    """Draw a coat or jacket."""
    hem = (0.4, 0.6, 0.9)[look.size]
    for side in (-1, 1):
        canvas.shape(
            [
                (side * 0.3, -0.66),
                (side * 0.46, -0.58),
                (side * 0.74, hem * 0.6),
                (side * 0.54, hem * 0.66),
                (side * 0.34, -0.1),
            ],
            shade(look.body, 0.82),
        )
        canvas.shape(
            [
                (side * 0.72, hem * 0.55),
                (side * 0.75, hem * 0.64),
                (side * 0.55, hem * 0.7),
                (side * 0.53, hem * 0.6),
            ],
            look.accent,
        )
    canvas.shape(
        [(-0.36, -0.68), (-0.12, -0.78), (0.12, -0.78), (0.36, -0.68), (0.4, hem), (-0.4, hem)],
        look.body,
    )
    pattern(canvas, look, -0.36, -0.3, 0.36, hem - 0.12)
    canvas.shape([(-0.16, -0.8), (0.16, -0.8), (0.0, -0.42)], shade(look.accent, 0.8))
    canvas.stroke([(0, -0.46), (0, hem)], shade(look.body, 0.5), 0.025)
    for button in range(look.count(4, 0, 6)):
        canvas.disc(0.05, -0.36 + button * (hem + 0.3) / 6, 0.03, look.trim)
    for side in (-1, 1):
        canvas.box(
            side * 0.22 - 0.1,
            hem * 0.45,
            side * 0.22 + 0.1,
            hem * 0.45 + 0.04,
            shade(look.body, 0.6),
        )
    mark(canvas, look, 0.2, -0.42, 0.07)


def bag(canvas: Canvas, look: Appearance) -> None:
    """Draw a handbag or rucksack."""
    wide = (0.46, 0.6, 0.76)[look.size]
    canvas.arc(0, -0.2, wide * look.between(4, 0.45, 0.65), look.trim, 0.06, (180, 360))
    canvas.shape(
        [(-wide * 0.85, -0.22), (wide * 0.85, -0.22), (wide, 0.7), (-wide, 0.7)], look.body
    )
    canvas.shape(
        [(-wide * 0.86, -0.24), (wide * 0.86, -0.24), (wide * 0.6, 0.2), (-wide * 0.6, 0.2)],
        shade(look.body, 1.15),
    )
    pattern(canvas, look, -wide * 0.7, 0.28, wide * 0.7, 0.62)
    canvas.box(-0.07, 0.12, 0.07, 0.26, (206, 178, 96), 0.02)
    mark(canvas, look, 0, 0.0, 0.12)
    if look.chance(5, 0.4):
        canvas.stroke([(wide * 0.8, -0.2), (wide * 1.1, 0.3), (wide * 0.9, 0.85)], look.trim, 0.04)


def watch(canvas: Canvas, look: Appearance) -> None:
    """Draw a wrist watch."""
    strap = look.between(4, 0.17, 0.26)
    canvas.box(-strap, -0.98, strap, 0.98, look.body, 0.08)
    for hole in range(look.count(5, 3, 6)):
        canvas.disc(0, 0.6 + hole * 0.06, 0.02, BLACK)
    canvas.stroke([(-strap, -0.85), (strap, -0.85)], look.trim, 0.04)
    radius = (0.34, 0.4, 0.48)[look.size]
    canvas.box(radius - 0.02, -0.05, radius + 0.08, 0.05, STEEL, 0.02)
    canvas.disc(0, 0, radius, look.trim)
    canvas.disc(0, 0, radius * 0.84, WHITE if look.chance(6, 0.5) else BLACK)
    for hour in range(12):
        angle = math.radians(30 * hour)
        canvas.stroke(
            [
                (radius * 0.66 * math.cos(angle), radius * 0.66 * math.sin(angle)),
                (radius * 0.78 * math.cos(angle), radius * 0.78 * math.sin(angle)),
            ],
            look.accent,
            0.02,
        )
    turn = look.between(7, 0, 6.28)
    canvas.stroke(
        [(0, 0), (radius * 0.6 * math.cos(turn), radius * 0.6 * math.sin(turn))], look.accent, 0.025
    )
    canvas.stroke(
        [(0, 0), (radius * 0.4 * math.cos(turn * 5), radius * 0.4 * math.sin(turn * 5))],
        (120, 120, 124),
        0.03,
    )
