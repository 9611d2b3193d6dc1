"""Appliances, tools and cosmetics."""

from fb_marketplace.sample.rendering.appearance import Appearance, mark, pattern, sticker
from fb_marketplace.sample.rendering.canvas import BLACK, GLASS, STEEL, WHITE, Canvas, shade


def washing_machine(canvas: Canvas, look: Appearance) -> None:
    """Draw a front-loading washing machine or dryer."""
    wide = (0.56, 0.64, 0.72)[look.size]
    canvas.shape(
        [(-wide, -0.82), (-wide + 0.1, -0.92), (wide + 0.08, -0.92), (wide, -0.82)],
        shade(look.body, 1.2),
    )
    canvas.box(-wide, -0.82, wide, 0.86, look.body, 0.03)
    canvas.box(-wide + 0.02, -0.8, wide - 0.02, -0.54, shade(look.body, 0.9))
    canvas.box(-wide + 0.06, -0.76, -wide + 0.4, -0.58, shade(look.body, 1.1), 0.02)
    canvas.disc(0.05, -0.67, 0.09, STEEL)
    canvas.box(0.2, -0.73, 0.2 + look.between(4, 0.12, 0.25), -0.61, GLASS)
    for knob in range(look.count(5, 1, 5)):
        canvas.disc(wide - 0.08 - knob * 0.07, -0.58, 0.02, look.accent)
    door = look.between(6, 0.38, 0.48)
    for share, ink in ((1.0, STEEL), (0.86, shade(STEEL, 0.6)), (0.72, GLASS), (0.6, (62, 76, 92))):
        canvas.disc(0, 0.14, door * share, ink)
    canvas.arc(0, 0.14, door * 0.5, (150, 166, 180), 0.03, (200, 260))
    canvas.box(door * 0.8, 0.06, door * 0.95, 0.22, shade(look.trim, 0.9), 0.02)
    canvas.box(-wide + 0.04, 0.72, wide - 0.04, 0.74, shade(look.body, 0.7))
    mark(canvas, look, -wide + 0.16, -0.67, 0.07)
    sticker(canvas, look, wide - 0.14, -0.36)


def fridge(canvas: Canvas, look: Appearance) -> None:
    """Draw a fridge, with a freezer above or below."""
    wide, high = ((0.48, 0.6), (0.46, 0.92), (0.66, 0.94))[look.size]
    canvas.shape(
        [(wide, -high), (wide + 0.12, -high + 0.06), (wide + 0.12, high - 0.06), (wide, high)],
        shade(look.body, 0.6),
    )
    canvas.box(-wide, -high, wide, high, look.body, 0.03)
    split = look.between(4, -0.35, 0.4) * high
    canvas.box(-wide, split - 0.012, wide, split + 0.012, shade(look.body, 0.45))
    if look.size == 2:
        canvas.box(-0.012, -high, 0.012, split, shade(look.body, 0.45))
    side = -1 if look.chance(5, 0.5) else 1
    for top, bottom in ((-high, split), (split, high)):
        long = (bottom - top) * 0.3
        y = split - 0.08 - long if top == -high else split + 0.08
        canvas.box(
            side * wide * 0.82 - 0.025, y, side * wide * 0.82 + 0.025, y + long, look.trim, 0.02
        )
    mark(canvas, look, 0 if look.size < 2 else 0.3, -high + 0.12, 0.07)
    for magnet in range(look.count(6, 0, 4)):
        x = -side * wide * 0.5 + (look.details[magnet] - 0.5) * 0.4
        y = split + 0.2 * (magnet + 1) * look.details[magnet + 3] - 0.3
        canvas.box(
            x - 0.05,
            y,
            x + 0.05,
            y + 0.08,
            (look.accent, (230, 190, 60), (90, 150, 110))[magnet % 3],
        )


def microwave(canvas: Canvas, look: Appearance) -> None:
    """Draw a microwave oven."""
    wide = (0.68, 0.8, 0.92)[look.size]
    canvas.shape(
        [(-wide, -0.42), (-wide + 0.1, -0.54), (wide + 0.06, -0.54), (wide, -0.42)],
        shade(look.body, 1.25),
    )
    canvas.box(-wide, -0.42, wide, 0.48, look.body, 0.03)
    canvas.box(-wide + 0.05, -0.35, wide * 0.5, 0.4, shade(look.body, 0.75), 0.02)
    canvas.box(-wide + 0.13, -0.27, wide * 0.5 - 0.08, 0.32, GLASS, 0.02)
    canvas.shape(
        [(-wide + 0.3, -0.27), (-wide + 0.45, -0.27), (-wide + 0.25, 0.32), (-wide + 0.13, 0.32)],
        shade(GLASS, 1.25),
    )
    canvas.box(wide * 0.5 - 0.05, -0.3, wide * 0.5 - 0.01, 0.35, look.trim, 0.02)
    middle = wide * 0.76
    canvas.box(middle - 0.14, -0.34, middle + 0.14, -0.2, (30, 60, 50))
    if look.chance(4, 0.5):
        for knob in range(look.count(5, 1, 2)):
            canvas.disc(middle, 0.0 + knob * 0.25, 0.1, STEEL)
            canvas.stroke([(middle, knob * 0.25), (middle + 0.05, knob * 0.25 - 0.06)], BLACK, 0.02)
    else:
        for key in range(look.count(5, 6, 12)):
            x, y = middle - 0.1 + key % 3 * 0.1, -0.12 + key // 3 * 0.11
            canvas.box(x - 0.035, y, x + 0.035, y + 0.07, look.accent if key == 0 else STEEL, 0.01)
    mark(canvas, look, -wide + 0.3, 0.44, 0.04)


def kettle(canvas: Canvas, look: Appearance) -> None:
    """Draw a kettle on its base."""
    high = (-0.4, -0.52, -0.66)[look.size]
    canvas.box(-0.5, 0.66, 0.5, 0.78, BLACK, 0.04)
    canvas.shape([(-0.26, high), (0.26, high), (0.46, 0.68), (-0.46, 0.68)], look.body)
    canvas.shape([(-0.14, high), (0.0, high), (-0.05, 0.68), (-0.3, 0.68)], shade(look.body, 1.35))
    canvas.shape([(0.16, high), (0.26, high), (0.46, 0.68), (0.3, 0.68)], shade(look.body, 0.7))
    canvas.shape(
        [(-0.24, high + 0.06), (-0.6, high + 0.1), (-0.34, high + 0.4)], shade(look.body, 0.85)
    )
    canvas.stroke(
        [(0.24, high + 0.08), (0.66, high + 0.14), (0.7, 0.3), (0.42, 0.5)], look.trim, 0.1
    )
    canvas.box(-0.28, high - 0.07, 0.28, high + 0.03, look.trim, 0.04)
    canvas.disc(0, high - 0.1, 0.07, look.accent)
    if look.chance(4, 0.5):
        canvas.box(0.02, 0.0, 0.12, look.between(5, 0.3, 0.55), (90, 130, 160), 0.03)
    mark(canvas, look, -0.08, 0.48, 0.09)
    canvas.box(-0.45, 0.58, 0.45, 0.6, look.accent)


def vacuum(canvas: Canvas, look: Appearance) -> None:
    """Draw an upright vacuum cleaner."""
    top = (-0.6, -0.78, -0.94)[look.size]
    canvas.stroke([(0.02, 0.3), (0.22, top)], look.trim, 0.07)
    canvas.stroke([(0.22, top), (0.34, top + 0.02), (0.3, top + 0.16)], BLACK, 0.08)
    canvas.shape([(-0.46, 0.66), (0.36, 0.66), (0.46, 0.88), (-0.56, 0.88)], look.body)
    canvas.box(-0.5, 0.78, 0.42, 0.83, look.accent)
    canvas.shape([(-0.2, -0.2), (0.22, -0.26), (0.26, 0.68), (-0.26, 0.68)], shade(look.body, 0.85))
    canvas.box(-0.15, look.between(4, -0.15, 0.05), 0.17, 0.42, (188, 200, 206), 0.08)
    canvas.box(-0.1, 0.15, 0.12, 0.38, (120, 118, 110), 0.06)
    for ring in range(look.count(5, 1, 4)):
        canvas.box(-0.15, -0.02 + ring * 0.08, 0.17, ring * 0.08, look.accent)
    canvas.disc(-0.42, 0.86, 0.08, BLACK)
    canvas.disc(0.34, 0.86, 0.08, BLACK)
    canvas.stroke([(0.24, 0.3), (0.5, 0.1), (0.44, -0.4), (0.2, -0.5)], (70, 70, 74), 0.05)
    mark(canvas, look, 0, 0.56, 0.1)


def drill(canvas: Canvas, look: Appearance) -> None:
    """Draw a cordless drill."""
    canvas.barrel(-0.98, -0.37, -0.6, -0.31, STEEL, upright=False)
    canvas.shape([(-0.68, -0.46), (-0.44, -0.54), (-0.44, -0.14), (-0.68, -0.22)], BLACK)
    canvas.box(-0.46, -0.6, 0.52, -0.08, look.body, 0.12)
    canvas.box(-0.46, -0.6, -0.3, -0.08, shade(look.trim, 0.8))
    for vent in range(look.count(4, 3, 6)):
        canvas.box(0.2 + vent * 0.05, -0.48, 0.225 + vent * 0.05, -0.22, BLACK)
    canvas.shape([(0.06, -0.1), (0.42, -0.1), (0.56, 0.56), (0.2, 0.56)], look.body)
    canvas.shape([(0.14, -0.04), (0.36, -0.04), (0.48, 0.5), (0.26, 0.5)], BLACK)
    canvas.shape([(-0.06, -0.1), (0.09, -0.1), (0.13, 0.1), (0.0, 0.08)], look.accent)
    high = (0.16, 0.24, 0.32)[look.size]
    canvas.box(0.04, 0.54, 0.74, 0.54 + high, shade(look.body, 0.8), 0.04)
    canvas.box(0.04, 0.56, 0.74, 0.62, BLACK)
    mark(canvas, look, -0.08, -0.34, look.between(5, 0.12, 0.2))
    sticker(canvas, look, 0.4, 0.6 + high / 3)


def saw(canvas: Canvas, look: Appearance) -> None:
    """Draw a hand saw."""
    long = (-0.7, -0.85, -0.98)[look.size]
    teeth = look.count(4, 16, 30)
    edge = [
        (
            0.36 + (long - 0.36) * step / teeth,
            0.26 + (0.05 if step % 2 else 0.0) - 0.18 * step / teeth,
        )
        for step in range(teeth + 1)
    ]
    canvas.shape([(0.36, -0.22), (long, -0.06), *reversed(edge)], STEEL)
    canvas.shape([(0.36, -0.2), (long, -0.05), (long, -0.02), (0.36, -0.1)], shade(STEEL, 1.4))
    canvas.shape([(0.28, -0.36), (0.72, -0.32), (0.9, 0.36), (0.6, 0.44), (0.34, 0.32)], look.body)
    canvas.shape([(0.48, -0.12), (0.62, -0.12), (0.72, 0.24), (0.54, 0.24)], look.accent)
    canvas.shape([(0.51, -0.08), (0.6, -0.08), (0.67, 0.2), (0.56, 0.2)], (64, 58, 52))
    for screw in range(look.count(5, 1, 3)):
        canvas.disc(0.4, -0.2 + screw * 0.16, 0.03, STEEL)
    mark(canvas, look, look.between(6, -0.3, 0.1), 0.0, 0.1)


def hammer(canvas: Canvas, look: Appearance) -> None:
    """Draw a hammer."""
    long = (0.55, 0.75, 0.95)[look.size]
    canvas.barrel(-0.06, -0.5, 0.06, long, shade(look.trim, 1.0))
    canvas.box(-0.085, long - look.between(4, 0.3, 0.7), 0.085, long, look.body, 0.05)
    for grip in range(look.count(5, 2, 6)):
        canvas.box(-0.085, long - 0.08 - grip * 0.06, 0.085, long - 0.06 - grip * 0.06, look.accent)
    canvas.box(-0.16, -0.78, 0.16, -0.46, shade(STEEL, 0.75), 0.04)
    canvas.box(-0.5, -0.76, -0.14, -0.5, shade(STEEL, 0.85), 0.02)
    canvas.box(-0.56, -0.8, -0.46, -0.46, STEEL, 0.02)
    canvas.shape(
        [(0.14, -0.76), (0.4, -0.7), (0.6, -0.46), (0.36, -0.54), (0.14, -0.52)], shade(STEEL, 0.8)
    )


def ladder(canvas: Canvas, look: Appearance) -> None:
    """Draw a step ladder."""
    steps = (3, 5, 7)[look.size]
    for x in (-0.24, 0.24):
        canvas.stroke([(x * 0.7, -0.85), (x * 1.9 + 0.2, 0.82)], shade(look.trim, 0.65), 0.05)
    for step in range(steps):
        y = -0.72 + step * 1.5 / steps
        reach = 0.24 + 0.2 * (y + 0.85) / 1.7
        canvas.shape([(-reach, y), (reach, y), (reach, y + 0.07), (-reach, y + 0.07)], look.accent)
        canvas.box(-reach, y, reach, y + 0.025, shade(STEEL, 1.2))
    for side in (-1, 1):
        canvas.stroke([(side * 0.23, -0.88), (side * 0.46, 0.88)], look.body, 0.075)
        canvas.disc(side * 0.46, 0.9, 0.06, BLACK)
    canvas.box(-0.28, -0.94, 0.28, -0.84, look.body, 0.02)
    mark(canvas, look, 0, -0.89, 0.05)


def paint_tin(canvas: Canvas, look: Appearance) -> None:
    """Draw a tin of paint, or a few."""
    tins = look.size + 1
    for tin in range(tins):
        x = (tin - (tins - 1) / 2) * 0.62
        half = 0.42 if tins == 1 else 0.3
        top = (-0.4, -0.25, -0.5)[tin % 3]
        canvas.barrel(x - half, top, x + half, 0.62, STEEL)
        canvas.disc(x, 0.62, half, shade(STEEL, 0.7), flat=0.24)
        canvas.barrel(
            x - half, top + 0.18, x + half, 0.52, (look.body, look.accent, WHITE)[tin % 3]
        )
        canvas.disc(x, top, half, shade(STEEL, 1.2), flat=0.26)
        canvas.disc(x, top, half * 0.82, (look.accent, look.body, look.trim)[tin % 3], flat=0.26)
        if look.chance(4, 0.6):
            canvas.shape(
                [
                    (x - 0.1, top + 0.06),
                    (x + 0.02, top + 0.07),
                    (x, top + look.between(5, 0.25, 0.5)),
                    (x - 0.07, top + 0.2),
                ],
                (look.accent, look.body, look.trim)[tin % 3],
            )
        mark(canvas, look, x + 0.06, 0.2, 0.14)


def hair_dryer(canvas: Canvas, look: Appearance) -> None:
    """Draw a hair dryer."""
    canvas.shape([(-0.05, 0.0), (0.22, 0.0), (0.3, 0.8), (0.04, 0.82)], shade(look.body, 0.85))
    canvas.stroke([(0.16, 0.8), (0.2, 0.95), (0.5, 0.9), (0.62, 0.7)], BLACK, 0.04)
    canvas.shape([(-0.5, -0.36), (0.3, -0.5), (0.3, 0.12), (-0.5, -0.04)], look.body)
    canvas.disc(0.3, -0.19, 0.31, shade(look.body, 1.1))
    canvas.disc(0.33, -0.19, 0.2, BLACK)
    reach = (-0.66, -0.76, -0.88)[look.size]
    canvas.shape([(-0.5, -0.34), (reach, -0.42), (reach, 0.02), (-0.5, -0.06)], look.trim)
    for switch in range(look.count(4, 1, 3)):
        canvas.box(0.08, 0.18 + switch * 0.14, 0.18, 0.27 + switch * 0.14, look.accent, 0.02)
    canvas.box(-0.4, -0.34, -0.36, -0.06, look.accent)
    mark(canvas, look, -0.08, -0.2, look.between(5, 0.1, 0.18))


def bottle(canvas: Canvas, look: Appearance) -> None:
    """Draw scent or cream in a bottle."""
    wide = look.between(4, 0.26, 0.5)
    high = (0.05, -0.15, -0.4)[look.size]
    corner = look.between(5, 0.02, 0.25)
    canvas.box(-wide, high, wide, 0.8, shade(look.body, 0.9), corner)
    canvas.box(-wide + 0.05, high + 0.05, wide - 0.05, 0.75, shade(look.body, 1.3), corner)
    canvas.box(
        -wide + 0.05,
        high + look.between(6, 0.15, 0.4),
        wide - 0.05,
        0.75,
        shade(look.body, 1.1),
        corner,
    )
    canvas.box(-wide + 0.09, high + 0.08, -wide + 0.15, 0.68, WHITE, 0.03)
    canvas.barrel(-0.1, high - 0.14, 0.1, high + 0.01, look.trim)
    canvas.barrel(-0.17, high - 0.4, 0.17, high - 0.12, look.accent)
    canvas.box(-wide * 0.6, 0.3, wide * 0.6, 0.58, WHITE, 0.02)
    mark(canvas, look, 0, 0.44, 0.12)


def make_up(canvas: Canvas, look: Appearance) -> None:
    """Draw a palette of make-up, open, with a brush or lipstick."""
    wide = (0.5, 0.66, 0.84)[look.size]
    canvas.box(-wide, -0.62, wide, 0.02, shade(look.body, 0.9), 0.05)
    canvas.box(-wide + 0.07, -0.55, wide - 0.07, -0.05, (182, 198, 206), 0.03)
    canvas.box(-wide, 0.04, wide, 0.62, look.body, 0.05)
    pans = look.count(4, 3, 6)
    for row in range(2):
        for pan in range(pans):
            x = -wide + 0.1 + (2 * wide - 0.16) * pan / pans
            hue = (look.accent, (196, 128, 116), (150, 92, 88), (222, 180, 160))[
                (pan + row * 3) % 4
            ]
            canvas.box(x, 0.1 + row * 0.25, x + 1.6 * wide / pans, 0.31 + row * 0.25, hue, 0.03)
    canvas.stroke([(wide * 0.2, 0.86), (wide * 0.95, 0.74)], look.trim, 0.06)
    canvas.disc(wide * 0.1, 0.88, 0.1, (90, 66, 56), flat=0.6, turn=350)


def storage_box(canvas: Canvas, look: Appearance) -> None:
    """Draw a cardboard or plastic box of odds and ends."""
    wide = (0.5, 0.68, 0.88)[look.size]
    for thing in range(look.count(4, 2, 6)):
        x = -wide + 0.2 + thing * (2 * wide - 0.4) / 6
        high = 0.15 + 0.3 * look.details[thing % 8]
        canvas.box(
            x, -0.25 - high, x + 0.18, 0.1, (look.accent, look.trim, WHITE, GLASS)[thing % 4], 0.03
        )
    canvas.shape(
        [(wide, -0.25), (wide + 0.12, -0.32), (wide + 0.1, 0.5), (wide - 0.04, 0.62)],
        shade(look.body, 0.6),
    )
    canvas.shape(
        [(-wide, -0.25), (wide, -0.25), (wide - 0.05, 0.62), (-wide + 0.05, 0.62)], look.body
    )
    pattern(canvas, look, -wide + 0.12, -0.1, wide - 0.12, 0.5)
    canvas.box(-wide - 0.02, -0.29, wide + 0.02, -0.2, shade(look.body, 1.15), 0.02)
    canvas.box(-0.14, -0.08, 0.14, 0.0, shade(look.body, 0.5), 0.04)
