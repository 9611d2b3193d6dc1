"""Furniture and decoration."""

from fb_marketplace.sample.rendering.appearance import Appearance, mark, pattern, sticker
from fb_marketplace.sample.rendering.canvas import STEEL, WHITE, Canvas, shade


def sofa(canvas: Canvas, look: Appearance) -> None:
    """Draw a sofa of one to three seats."""
    wide = (0.55, 0.78, 0.98)[look.size]
    seats = look.size + 1
    for x in (-wide + 0.1, wide - 0.1):
        canvas.box(x - 0.05, 0.5, x + 0.05, 0.68, look.trim)
    canvas.box(-wide + 0.08, -0.42, wide - 0.08, 0.35, shade(look.body, 0.8), 0.12)
    room = 2 * (wide - 0.16) / seats
    for seat in range(seats):
        left = -wide + 0.16 + seat * room
        canvas.box(left + 0.012, -0.36, left + room - 0.012, 0.16, shade(look.body, 0.95), 0.09)
        canvas.box(left + 0.008, 0.1, left + room - 0.008, 0.34, shade(look.body, 1.12), 0.07)
    canvas.box(-wide + 0.05, 0.32, wide - 0.05, 0.54, shade(look.body, 0.86), 0.05)
    arm = look.between(4, 0.13, 0.22)
    top = look.between(5, -0.18, 0.04)
    for left in (-wide, wide - arm):
        canvas.box(left, top, left + arm, 0.56, look.body, arm / 2)
        canvas.box(
            left + 0.02, top + 0.04, left + arm - 0.03, top + 0.16, shade(look.body, 1.2), 0.05
        )
    for cushion in range(look.count(6, 0, 2)):
        x = -wide + 0.36 + cushion * (wide * 1.1)
        canvas.shape([(x, -0.3), (x + 0.19, -0.1), (x, 0.1), (x - 0.19, -0.1)], look.accent)
        canvas.stroke([(x, -0.2), (x, 0.02)], shade(look.accent, 0.7), 0.02)


def table(canvas: Canvas, look: Appearance) -> None:
    """Draw a dining or coffee table."""
    wide = (0.55, 0.78, 0.97)[look.size]
    top = look.between(4, -0.3, 0.1)
    for x in (-wide + 0.22, wide - 0.22):
        canvas.shape(
            [(x - 0.03, top), (x + 0.03, top), (x + 0.02, 0.42), (x - 0.02, 0.42)],
            shade(look.trim, 0.65),
        )
    canvas.shape(
        [(-wide + 0.2, top - 0.24), (wide - 0.2, top - 0.24), (wide, top), (-wide, top)],
        shade(look.body, 1.15),
    )
    for grain in range(look.count(5, 3, 7)):
        y = top - 0.22 + grain * 0.032
        canvas.stroke(
            [(-wide + 0.3, y), (wide - 0.3 - 0.02 * grain, y + 0.008)],
            shade(look.body, 0.95),
            0.006,
        )
    canvas.box(-wide, top, wide, top + 0.07, look.body)
    canvas.box(-wide + 0.08, top + 0.07, wide - 0.08, top + 0.17, shade(look.body, 0.78))
    foot = look.between(6, 0.02, 0.06)
    for x in (-wide + 0.07, wide - 0.07):
        canvas.shape(
            [(x - 0.05, top + 0.06), (x + 0.05, top + 0.06), (x + foot, 0.8), (x - foot, 0.8)],
            look.trim,
        )
    if look.chance(7, 0.4):
        canvas.barrel(-0.1, top - 0.32, 0.06, top - 0.1, look.accent)


def lamp(canvas: Canvas, look: Appearance) -> None:
    """Draw a table or standard lamp."""
    foot = (0.45, 0.68, 0.92)[look.size]
    flare = look.between(4, 0.14, 0.34)
    canvas.disc(0, foot, 0.3, look.trim, flat=0.28)
    canvas.disc(0, foot - 0.04, 0.26, shade(look.trim, 1.25), flat=0.25)
    canvas.barrel(-0.035, -0.3, 0.035, foot - 0.03, look.trim)
    for bead in range(look.count(5, 0, 3)):
        canvas.disc(0, foot - 0.2 - bead * 0.16, 0.09, shade(look.accent, 0.9), flat=0.8)
    lampshade = [(-flare, -0.86), (flare, -0.86), (0.5, -0.24), (-0.5, -0.24)]
    canvas.shape(lampshade, look.body)
    canvas.shape(
        [(-flare * 0.4, -0.86), (flare * 0.5, -0.86), (0.22, -0.24), (-0.2, -0.24)],
        shade(look.body, 1.35),
    )
    canvas.box(-0.5, -0.29, 0.5, -0.24, look.accent)


def dining_chair(canvas: Canvas, look: Appearance) -> None:
    """Draw a four-legged chair with a slatted or upholstered back."""
    wide = look.between(4, 0.36, 0.48)
    canvas.stroke([(-wide + 0.14, 0.1), (-wide + 0.12, 0.66)], shade(look.trim, 0.6), 0.07)
    canvas.stroke([(wide - 0.14, 0.1), (wide - 0.12, 0.66)], shade(look.trim, 0.6), 0.07)
    if look.chance(5, 0.5):
        canvas.box(-wide + 0.02, -0.92, wide - 0.02, 0.05, look.body, 0.12)
        pattern(canvas, look, -wide + 0.1, -0.8, wide - 0.1, -0.1)
    else:
        canvas.box(-wide, -0.92, wide, -0.78, look.trim, 0.05)
        slats = look.count(6, 2, 5)
        for slat in range(slats):
            x = -wide + 2 * wide * (slat + 0.5) / slats
            canvas.box(x - 0.035, -0.8, x + 0.035, 0.05, shade(look.trim, 0.9))
    for x in (-wide, wide):
        canvas.stroke([(x, -0.86), (x, 0.1)], look.trim, 0.08)
    canvas.shape(
        [(-wide - 0.02, 0), (wide + 0.02, 0), (wide + 0.12, 0.2), (-wide - 0.12, 0.2)],
        shade(look.body, 1.12),
    )
    canvas.box(-wide - 0.12, 0.2, wide + 0.12, 0.28, look.trim)
    for x in (-wide - 0.06, wide + 0.06):
        canvas.stroke([(x, 0.25), (x * 1.06, 0.9)], look.trim, 0.085)


def office_chair(canvas: Canvas, look: Appearance) -> None:
    """Draw a swivel chair on castors."""
    back = (-0.62, -0.8, -0.95)[look.size]
    wide = look.between(4, 0.36, 0.46)
    for x, y in ((-0.5, 0.82), (-0.22, 0.9), (0.24, 0.9), (0.52, 0.82)):
        canvas.stroke([(0, 0.66), (x, y - 0.05)], shade(look.trim, 0.9), 0.065)
        canvas.disc(x, y, 0.065, (30, 30, 32))
    canvas.barrel(-0.06, 0.25, 0.06, 0.68, STEEL)
    canvas.box(-wide, back, wide, 0.06, look.body, look.between(5, 0.1, 0.3))
    canvas.box(-wide + 0.07, back + 0.08, wide - 0.07, -0.02, shade(look.body, 1.15), 0.12)
    for seam in range(look.count(6, 0, 3)):
        canvas.box(
            -wide + 0.1,
            back + 0.22 + seam * 0.18,
            wide - 0.1,
            back + 0.24 + seam * 0.18,
            look.accent,
        )
    canvas.box(-wide - 0.1, 0.02, wide + 0.1, 0.27, shade(look.body, 0.95), 0.12)
    canvas.box(-wide - 0.05, 0.05, wide + 0.05, 0.13, shade(look.body, 1.2), 0.05)
    if look.chance(7, 0.6):
        for x in (-wide - 0.1, wide + 0.1):
            canvas.stroke([(x, 0.12), (x, -0.2)], look.trim, 0.06)
            canvas.box(x - 0.07, -0.26, x + 0.07, -0.18, look.trim, 0.04)


def desk(canvas: Canvas, look: Appearance) -> None:
    """Draw a desk with a pedestal of drawers."""
    wide = (0.62, 0.8, 0.98)[look.size]
    canvas.shape(
        [(-wide + 0.14, -0.4), (wide - 0.14, -0.4), (wide, -0.18), (-wide, -0.18)],
        shade(look.body, 1.18),
    )
    canvas.box(-wide, -0.18, wide, -0.1, look.body)
    canvas.box(-wide + 0.1, -0.1, wide - 0.1, 0.25, shade(look.body, 0.55))
    drawers = look.count(4, 2, 4)
    side = -1 if look.chance(5, 0.5) else 1
    left = wide - 0.5 if side > 0 else -wide + 0.04
    canvas.box(left, -0.1, left + 0.46, 0.78, shade(look.body, 0.9))
    for drawer in range(drawers):
        top = -0.07 + drawer * 0.84 / drawers
        canvas.box(left + 0.03, top, left + 0.43, top + 0.8 / drawers, shade(look.body, 1.08), 0.01)
        canvas.box(left + 0.15, top + 0.08, left + 0.31, top + 0.115, look.trim)
    x = -side * (wide - 0.08)
    canvas.stroke([(x, -0.1), (x, 0.76)], look.trim, 0.08)
    if look.chance(6, 0.4):
        canvas.box(-side * 0.5 - 0.14, -0.52, -side * 0.5 + 0.14, -0.3, look.accent, 0.02)


def cabinet(canvas: Canvas, look: Appearance) -> None:
    """Draw a wardrobe or filing cabinet: doors above, drawers below."""
    wide = (0.32, 0.46, 0.66)[look.size]
    canvas.shape(
        [(wide, -0.9), (wide + 0.14, -0.82), (wide + 0.14, 0.8), (wide, 0.9)], shade(look.body, 0.6)
    )
    canvas.box(-wide, -0.9, wide, 0.9, shade(look.body, 0.9))
    drawers = look.count(4, 1, 4)
    split = 0.86 - drawers * look.between(5, 0.17, 0.34)
    doors = look.size + 1
    for door in range(doors):
        left = -wide + 0.03 + door * (2 * wide - 0.04) / doors
        right = left + (2 * wide - 0.04) / doors - 0.02
        canvas.box(left, -0.86, right, split - 0.02, shade(look.body, 1.1), 0.015)
        if look.chance(6, 0.5):
            canvas.box(left + 0.06, -0.78, right - 0.06, split - 0.1, shade(look.body, 0.97))
        canvas.box(right - 0.07, -0.2, right - 0.045, 0.0, look.trim)
    for drawer in range(drawers):
        top = split + drawer * (0.86 - split) / drawers
        canvas.box(
            -wide + 0.03,
            top,
            wide - 0.03,
            top + (0.86 - split) / drawers - 0.015,
            shade(look.body, 1.1),
            0.01,
        )
        canvas.box(-0.09, top + 0.06, 0.09, top + 0.09, look.trim)
    mark(canvas, look, -wide + 0.14, -0.79, 0.06)
    sticker(canvas, look, wide * 0.5, -0.5)


def bookcase(canvas: Canvas, look: Appearance) -> None:
    """Draw open shelves with a few things left on them."""
    wide = (0.34, 0.5, 0.75)[look.size]
    canvas.box(-wide, -0.9, wide, 0.9, look.body)
    canvas.box(-wide + 0.05, -0.85, wide - 0.05, 0.85, shade(look.body, 0.5))
    shelves = look.count(4, 3, 5)
    for shelf in range(shelves):
        floor = -0.85 + (shelf + 1) * 1.7 / shelves
        at = -wide + 0.1 + 0.1 * look.details[(shelf + 2) % 8]
        for book in range(look.count((shelf + 5) % 8, 0, 5)):
            thick = 0.035 + 0.03 * look.details[(book + shelf) % 8]
            cover = (look.accent, look.trim, WHITE, shade(look.accent, 0.6))[(book + shelf) % 4]
            canvas.box(at, floor - 0.2 - 0.06 * look.details[book % 8], at + thick, floor, cover)
            at += thick + 0.006
        canvas.box(-wide + 0.03, floor - 0.02, wide - 0.03, floor + 0.035, shade(look.body, 1.15))


def bed(canvas: Canvas, look: Appearance) -> None:
    """Draw a bed with headboard, duvet and pillows."""
    wide = (0.5, 0.72, 0.95)[look.size]
    canvas.box(-wide, -0.7, wide, 0.1, look.trim, look.between(4, 0.02, 0.3))
    for bar in range(look.count(5, 0, 6)):
        x = -wide + 0.12 + bar * (2 * wide - 0.2) / 6
        canvas.box(x, -0.58, x + 0.04, 0, shade(look.trim, 0.75))
    canvas.shape(
        [(-wide + 0.04, -0.05), (wide - 0.04, -0.05), (wide + 0.03, 0.62), (-wide - 0.03, 0.62)],
        shade(WHITE, 0.95),
    )
    for side in (-1, 1):
        middle = side * wide * 0.48
        canvas.box(middle - wide * 0.38, -0.24, middle + wide * 0.38, 0.06, WHITE, 0.09)
    canvas.shape(
        [(-wide, 0.06), (wide, 0.06), (wide + 0.04, 0.64), (-wide - 0.04, 0.64)], look.body
    )
    pattern(canvas, look, -wide + 0.04, 0.14, wide - 0.04, 0.6)
    canvas.box(-wide - 0.03, 0.06, wide + 0.03, 0.14, shade(look.body, 1.3))
    canvas.box(-wide - 0.05, 0.62, wide + 0.05, 0.8, shade(look.trim, 0.9), 0.02)


def mirror(canvas: Canvas, look: Appearance) -> None:
    """Draw a framed mirror, round or upright."""
    if look.chance(4, 0.45):
        radius = (0.5, 0.66, 0.85)[look.size]
        canvas.disc(0, 0, radius, look.trim)
        canvas.disc(0, 0, radius - 0.1, (176, 194, 204))
        canvas.shape([(-0.3, 0.2), (0.15, -0.4), (0.3, -0.32), (-0.16, 0.3)], (214, 226, 232))
        canvas.ring(0, 0, radius - 0.05, look.accent, 0.02)
    else:
        wide = (0.36, 0.48, 0.62)[look.size]
        canvas.box(-wide, -0.88, wide, 0.88, look.trim, 0.04)
        canvas.box(-wide + 0.09, -0.79, wide - 0.09, 0.79, (172, 190, 202), 0.02)
        canvas.shape(
            [(-wide + 0.1, 0.2), (wide - 0.14, -0.5), (wide - 0.14, -0.3), (-wide + 0.1, 0.42)],
            (212, 225, 232),
        )
        canvas.box(-wide + 0.06, -0.82, wide - 0.06, -0.79, look.accent)


def plant(canvas: Canvas, look: Appearance) -> None:
    """Draw a house plant in its pot."""
    leaves = look.count(4, 6, 12)
    for leaf in range(leaves):
        bend = (leaf + 0.5) / leaves * 2 - 1
        reach = (0.45, 0.7, 0.95)[look.size] * (0.75 + 0.3 * look.details[leaf % 8])
        tip = (bend * 0.8, 0.28 - reach * (1.15 - abs(bend) * 0.5))
        green = shade((64, 122, 62), 0.75 + 0.5 * look.details[(leaf * 3) % 8])
        thick = 0.05 + 0.05 * look.details[5]
        middle = (bend * 0.42, 0.28 - reach * 0.72)
        canvas.shape(
            [(0, 0.3), (middle[0] - thick, middle[1]), tip, (middle[0] + thick, middle[1] + 0.06)],
            green,
        )
        canvas.stroke([(0, 0.3), middle, tip], shade(green, 1.25), 0.008)
    canvas.shape([(-0.34, 0.28), (0.34, 0.28), (0.25, 0.88), (-0.25, 0.88)], look.body)
    canvas.shape([(-0.2, 0.28), (0.0, 0.28), (-0.02, 0.88), (-0.15, 0.88)], shade(look.body, 1.2))
    canvas.box(-0.37, 0.22, 0.37, 0.35, shade(look.body, 0.9), 0.02)
    pattern(canvas, look, -0.24, 0.46, 0.24, 0.76)
