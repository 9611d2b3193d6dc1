"""Sport, camping and travel."""

import math

from fb_marketplace.sample.rendering.appearance import Appearance, mark, sticker
from fb_marketplace.sample.rendering.canvas import BLACK, STEEL, WHITE, Canvas, shade


def bike(canvas: Canvas, look: Appearance) -> None:
    """Draw a bicycle."""
    radius = (0.3, 0.36, 0.42)[look.size]
    hubs = ((-0.52, 0.4), (0.54, 0.4))
    for x, y in hubs:
        canvas.ring(x, y, radius, BLACK, 0.055)
        canvas.ring(x, y, radius - 0.04, STEEL, 0.015)
        for spoke in range(look.count(4, 8, 14)):
            angle = spoke * 6.283 / look.count(4, 8, 14)
            canvas.stroke(
                [(x, y), (x + radius * math.cos(angle), y + radius * math.sin(angle))], STEEL, 0.008
            )
    crank, seat, head = (0.02, 0.42), (-0.16, -0.24), (0.38, -0.28)
    for line in (
        (hubs[0], crank),
        (hubs[0], seat),
        (crank, seat),
        (crank, head),
        (hubs[1], (0.34, -0.42)),
    ):
        canvas.stroke(line, look.body, 0.055)
    bar = look.between(5, -0.24, 0.05)
    canvas.stroke([(seat[0] + 0.02, bar), head], look.body, 0.055)
    canvas.stroke([seat, (-0.2, -0.4)], STEEL, 0.03)
    canvas.box(-0.36, -0.48, -0.06, -0.39, BLACK, 0.04)
    canvas.stroke(
        [(0.34, -0.42), (0.3, -0.54), (0.52, -0.56)]
        if look.chance(6, 0.5)
        else [(0.34, -0.42), (0.36, -0.54), (0.56, -0.5), (0.54, -0.36)],
        look.trim,
        0.05,
    )
    canvas.disc(*crank, 0.1, STEEL)
    canvas.stroke([crank, (0.12, 0.6)], BLACK, 0.035)
    canvas.box(-0.02, 0.02, 0.22, 0.07, look.accent)


def ball(canvas: Canvas, look: Appearance) -> None:
    """Draw a ball, or a few."""
    balls = look.size + 1
    for number in range(balls):
        x = (number - (balls - 1) / 2) * 0.66
        y = 0.3 - 0.4 * (number % 2)
        radius = 0.62 if balls == 1 else 0.36
        skin = (look.body, look.accent, WHITE)[number % 3]
        canvas.disc(x, y, radius, skin)
        patches = look.count(4, 4, 6)
        for patch in range(patches):
            angle = patch * 6.283 / patches + look.between(5, 0, 1)
            canvas.disc(
                x + radius * 0.66 * math.cos(angle),
                y + radius * 0.66 * math.sin(angle),
                radius * 0.2,
                (look.accent, look.body, BLACK)[number % 3],
            )
        canvas.disc(x, y, radius * 0.24, (look.accent, look.trim, BLACK)[number % 3])


def dumbbell(canvas: Canvas, look: Appearance) -> None:
    """Draw dumbbells or a kettlebell."""
    for row in range(look.count(4, 1, 2)):
        y = row * 0.5 - 0.1
        plates = look.size + 1
        canvas.barrel(-0.5, y - 0.06, 0.5, y + 0.06, STEEL, upright=False)
        for side in (-1, 1):
            for plate in range(plates):
                high = 0.34 - 0.06 * plate
                x = side * (0.36 + plate * 0.15)
                canvas.box(
                    x - 0.07,
                    y - high,
                    x + 0.07,
                    y + high,
                    (look.body, look.accent)[plate % 2],
                    0.05,
                )
                canvas.box(
                    x - 0.05,
                    y - high + 0.03,
                    x - 0.01,
                    y + high - 0.03,
                    shade(look.body, 1.4),
                    0.02,
                )


def tent(canvas: Canvas, look: Appearance) -> None:
    """Draw a tent."""
    wide = (0.66, 0.82, 0.98)[look.size]
    peak = look.between(4, -0.2, 0.2)
    canvas.shape([(-wide, 0.56), (peak, -0.6), (wide, 0.56)], look.body)
    canvas.shape([(peak, -0.6), (wide, 0.56), (wide * 0.35, 0.56)], shade(look.body, 0.75))
    canvas.shape([(peak, -0.36), (-wide * 0.34, 0.56), (wide * 0.2, 0.56)], shade(look.accent, 0.5))
    canvas.shape([(peak, -0.36), (-wide * 0.34, 0.56), (-wide * 0.06, 0.56)], look.accent)
    canvas.stroke([(-wide, 0.56), (peak, -0.6), (wide, 0.56)], look.trim, 0.03)
    for side in (-1, 1):
        canvas.stroke(
            [(side * wide * 0.55, -0.02), (side * min(wide + 0.12, 1.05), 0.7)], WHITE, 0.012
        )
    for seam in range(look.count(5, 0, 3)):
        y = 0.1 + seam * 0.14
        canvas.stroke([(wide * 0.4, y), (wide * 0.75, y + 0.02)], shade(look.body, 0.6), 0.015)


def suitcase(canvas: Canvas, look: Appearance) -> None:
    """Draw a suitcase on wheels."""
    wide, high = ((0.42, 0.5), (0.5, 0.62), (0.6, 0.76))[look.size]
    canvas.stroke([(-0.16, -high), (-0.16, -0.94), (0.16, -0.94), (0.16, -high)], STEEL, 0.045)
    for x in (-wide + 0.1, wide - 0.1):
        canvas.disc(x, high + 0.12, 0.08, BLACK)
    canvas.box(-wide, -high, wide, high + 0.08, look.body, 0.1)
    ribs = look.count(4, 0, 7)
    for rib in range(ribs):
        x = -wide + 2 * wide * (rib + 0.7) / (ribs + 0.4)
        canvas.box(x - 0.02, -high + 0.08, x + 0.02, high, shade(look.body, 0.75), 0.02)
    canvas.box(
        -wide, look.between(5, -0.3, 0.3), wide, look.between(5, -0.3, 0.3) + 0.07, look.accent
    )
    mark(canvas, look, 0, -high + 0.18, 0.1)
    sticker(canvas, look, wide * 0.5, high * 0.6)
