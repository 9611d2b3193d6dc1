"""Screens, consoles and cameras."""

from fb_marketplace.sample.rendering.appearance import Appearance, mark, sticker
from fb_marketplace.sample.rendering.canvas import BLACK, GLASS, STEEL, WHITE, Canvas, blend, shade


def _screen(canvas: Canvas, look: Appearance, x0: float, y0: float, x1: float, y1: float) -> None:
    lit = look.chance(3, 0.6)
    canvas.box(x0, y0, x1, y1, GLASS)
    if lit:
        sky = blend(look.accent, (90, 150, 220), 0.6)
        for band in range(8):
            top = y0 + (y1 - y0) * band / 8
            canvas.box(x0, top, x1, top + (y1 - y0) / 8, shade(sky, 0.55 + 0.12 * band))
        hill = y0 + (y1 - y0) * look.between(2, 0.45, 0.8)
        peak = x0 + (x1 - x0) * look.between(1, 0.25, 0.75)
        canvas.shape(
            [(x0, y1), (x0, hill), (peak, hill - (y1 - y0) * 0.2), (x1, hill), (x1, y1)],
            shade(look.accent, 0.5),
        )
    else:
        canvas.shape(
            [
                (x0 + (x1 - x0) * 0.55, y0),
                (x0 + (x1 - x0) * 0.8, y0),
                (x0 + (x1 - x0) * 0.4, y1),
                (x0 + (x1 - x0) * 0.15, y1),
            ],
            shade(GLASS, 1.18),
        )
    if look.wear > 0.75:
        crack = (x0 + (x1 - x0) * 0.7, y0 + (y1 - y0) * 0.3)
        for end in ((x1, y0), (x1, y1), (x0, y0 + (y1 - y0) * 0.6), ((x0 + x1) / 2, y0)):
            canvas.stroke([crack, end], (205, 212, 218), 0.008)


def phone(canvas: Canvas, look: Appearance) -> None:
    """Draw a smartphone from the front, or from the back with its cameras."""
    wide, high = ((0.34, 0.7), (0.38, 0.8), (0.43, 0.92))[look.size]
    canvas.box(wide - 0.01, -high * 0.5, wide + 0.02, -high * 0.3, shade(look.trim, 0.8))
    canvas.box(-wide, -high, wide, high, look.trim, 0.1)
    if look.chance(4, 0.6):
        canvas.box(-wide + 0.02, -high + 0.02, wide - 0.02, high - 0.02, BLACK, 0.085)
        _screen(canvas, look, -wide + 0.05, -high + 0.09, wide - 0.05, high - 0.09)
        canvas.box(-0.09, -high + 0.045, 0.09, -high + 0.07, (60, 60, 66), 0.012)
        for row in range(look.count(5, 1, 4)):
            for column in range(4):
                x = -wide + 0.12 + column * (2 * wide - 0.2) / 4
                y = -high * 0.4 + row * 0.2
                icon = (look.accent, WHITE, look.body, (240, 190, 70))[(row + column) % 4]
                canvas.box(x, y, x + 0.1, y + 0.1, icon, 0.025)
    else:
        canvas.box(-wide + 0.015, -high + 0.015, wide - 0.015, high - 0.015, look.body, 0.09)
        lenses = look.count(5, 1, 4)
        canvas.box(
            -wide + 0.06,
            -high + 0.06,
            -wide + 0.32,
            -high + 0.1 + lenses * 0.12,
            shade(look.body, 0.75),
            0.06,
        )
        for lens in range(lenses):
            canvas.disc(-wide + 0.19, -high + 0.14 + lens * 0.12, 0.055, BLACK)
            canvas.disc(-wide + 0.19, -high + 0.14 + lens * 0.12, 0.025, (60, 80, 120))
        mark(canvas, look, 0, 0, 0.13)
        sticker(canvas, look, 0.1, high * 0.6)


def tablet(canvas: Canvas, look: Appearance) -> None:
    """Draw a tablet lying or standing upright."""
    wide, high = ((0.5, 0.68), (0.6, 0.8), (0.72, 0.95))[look.size]
    if look.chance(4, 0.5):
        wide, high = high, wide
    canvas.box(-wide, -high, wide, high, look.trim, 0.07)
    edge = look.between(5, 0.05, 0.11)
    canvas.box(-wide + 0.015, -high + 0.015, wide - 0.015, high - 0.015, BLACK, 0.06)
    _screen(canvas, look, -wide + edge, -high + edge, wide - edge, high - edge)
    for column in range(look.count(6, 2, 6)):
        x = -wide + edge + 0.08 + column * 0.17
        canvas.box(
            x,
            high - edge - 0.17,
            x + 0.11,
            high - edge - 0.06,
            (look.accent, WHITE)[column % 2],
            0.02,
        )
    canvas.disc(0, high - edge / 2, edge * 0.25, (70, 70, 76))


def monitor(canvas: Canvas, look: Appearance) -> None:
    """Draw a computer monitor on its stand."""
    wide, high = ((0.62, 0.42), (0.78, 0.48), (0.98, 0.48))[look.size]
    canvas.shape([(-0.07, 0.3), (0.07, 0.3), (0.09, 0.68), (-0.09, 0.68)], look.trim)
    if look.chance(4, 0.5):
        canvas.disc(0, 0.7, 0.32, shade(look.trim, 0.9), flat=0.22)
    else:
        canvas.shape(
            [(-0.3, 0.64), (0.3, 0.64), (0.36, 0.74), (-0.36, 0.74)], shade(look.trim, 1.1)
        )
    canvas.box(-wide, -0.15 - high, wide, -0.1 + high, look.trim, 0.025)
    rim = look.between(5, 0.02, 0.06)
    _screen(canvas, look, -wide + rim, -0.15 - high + rim, wide - rim, high - 0.18)
    mark(canvas, look, 0, high - 0.14, 0.035)
    for button in range(look.count(6, 1, 5)):
        canvas.disc(wide - 0.08 - button * 0.05, high - 0.14, 0.012, STEEL)


def laptop(canvas: Canvas, look: Appearance) -> None:
    """Draw a laptop standing open."""
    wide = (0.58, 0.7, 0.84)[look.size]
    canvas.box(-wide, -0.72, wide, 0.22, look.body, 0.04)
    _screen(canvas, look, -wide + 0.05, -0.67, wide - 0.05, 0.14)
    canvas.shape(
        [(-wide, 0.22), (wide, 0.22), (wide + 0.16, 0.66), (-wide - 0.16, 0.66)],
        shade(look.body, 1.1),
    )
    keys = look.count(4, 8, 12)
    for row in range(4):
        y = 0.27 + row * 0.055
        reach = wide - 0.06 + row * 0.02
        for key in range(keys):
            x = -reach + 2 * reach * key / keys
            canvas.box(
                x,
                y,
                x + 1.7 * reach / keys,
                y + 0.042,
                look.accent if look.chance(5, 0.2) and key == row else BLACK,
                0.006,
            )
    canvas.shape([(-0.2, 0.52), (0.2, 0.52), (0.22, 0.64), (-0.22, 0.64)], shade(look.body, 0.88))
    canvas.shape(
        [(-wide - 0.16, 0.66), (wide + 0.16, 0.66), (wide + 0.15, 0.7), (-wide - 0.15, 0.7)],
        shade(look.body, 0.65),
    )
    sticker(canvas, look, wide - 0.06, 0.57)


def keyboard(canvas: Canvas, look: Appearance) -> None:
    """Draw a computer keyboard."""
    wide = (0.7, 0.86, 0.98)[look.size]
    canvas.box(-wide, -0.34, wide, 0.34, look.body, 0.05)
    keys = (11, 14, 17)[look.size]
    for row in range(5):
        for key in range(keys):
            if row == 4 and 3 <= key <= keys - 6:
                continue
            x = -wide + 0.05 + (2 * wide - 0.1) * key / keys
            y = -0.28 + row * 0.115
            special = (key * 7 + row * 3) % 13 < look.count(4, 0, 3)
            cap = look.accent if special else look.trim
            canvas.box(x, y, x + (2 * wide - 0.1) / keys - 0.014, y + 0.1, cap, 0.018)
            canvas.box(
                x + 0.012,
                y + 0.008,
                x + (2 * wide - 0.1) / keys - 0.026,
                y + 0.075,
                shade(cap, 1.2),
                0.015,
            )
    canvas.box(-0.3 * wide, 0.18, 0.4 * wide, 0.28, shade(look.trim, 1.1), 0.02)


def console(canvas: Canvas, look: Appearance) -> None:
    """Draw a games console; some have a pad beside them."""
    wide = (0.5, 0.66, 0.82)[look.size]
    canvas.shape(
        [(-wide, -0.28), (wide, -0.28), (wide + 0.1, -0.06), (-wide - 0.1, -0.06)],
        shade(look.body, 1.2),
    )
    canvas.box(-wide - 0.1, -0.06, wide + 0.1, 0.22, look.body, 0.02)
    canvas.box(-wide - 0.1, 0.05, wide + 0.1, 0.08, look.accent)
    canvas.box(-wide + 0.05, -0.01, wide * 0.2, 0.025, BLACK)
    for port in range(look.count(4, 1, 4)):
        canvas.box(wide - 0.08 - port * 0.14, 0.12, wide + 0.02 - port * 0.14, 0.17, BLACK)
    vents = look.count(5, 3, 9)
    for vent in range(vents):
        x = -wide + 0.1 + vent * 0.07
        canvas.shape(
            [(x, -0.24), (x + 0.03, -0.24), (x + 0.02, -0.1), (x - 0.01, -0.1)],
            shade(look.body, 0.6),
        )
    mark(canvas, look, wide * 0.55, -0.17, 0.09)
    if look.chance(6, 0.55):
        _pad(canvas, look, 0.1, 0.55, 0.42)


def _pad(canvas: Canvas, look: Appearance, x: float, y: float, size: float) -> None:
    shell = look.trim
    for side in (-1, 1):
        canvas.disc(
            x + side * size * 0.72,
            y + size * 0.2,
            size * 0.4,
            shell,
            flat=1.35,
            turn=(20 * side) % 360,
        )
    canvas.box(x - size, y - size * 0.45, x + size, y + size * 0.3, shell, size * 0.35)
    canvas.box(
        x - size * 0.8,
        y - size * 0.4,
        x + size * 0.8,
        y - size * 0.2,
        shade(shell, 1.25),
        size * 0.1,
    )
    low = 0.2 if look.chance(4, 0.5) else -0.05
    for side, drop in ((-1, low), (1, 0.2)):
        canvas.disc(x + side * size * 0.36, y + size * drop, size * 0.19, BLACK)
        canvas.disc(x + side * size * 0.36, y + size * drop, size * 0.12, (70, 70, 76))
    for dx, dy in ((0, -1), (1, 0), (0, 1), (-1, 0)):
        canvas.disc(
            x + size * (0.7 + 0.12 * dx),
            y + size * (0.12 * dy - 0.1),
            size * 0.06,
            look.accent if look.chance(5, 0.6) else (STEEL, WHITE, look.accent)[dx],
        )
    canvas.box(x - size * 0.85, y - size * 0.15, x - size * 0.55, y - size * 0.05, BLACK)
    canvas.box(x - size * 0.75, y - size * 0.25, x - size * 0.65, y + size * 0.05, BLACK)
    mark(canvas, look, x, y - size * 0.1, size * 0.16)


def controller(canvas: Canvas, look: Appearance) -> None:
    """Draw a game pad."""
    _pad(canvas, look, 0, 0, (0.62, 0.74, 0.84)[look.size])


def game_case(canvas: Canvas, look: Appearance) -> None:
    """Draw a game or film in its case, alone or fanned out."""
    copies = look.size * 2 + 1
    for copy in range(copies):
        x = (copy - (copies - 1) / 2) * 0.3
        cover = (look.body, look.trim, look.accent)[copy % 3]
        ink = (look.accent, WHITE, look.body)[copy % 3]
        lift = 0.04 * copy
        canvas.box(x - 0.46, -0.68 - lift, x + 0.46, 0.62 - lift, shade(cover, 0.6), 0.03)
        canvas.box(x - 0.4, -0.64 - lift, x + 0.43, 0.58 - lift, cover)
        canvas.box(x - 0.4, -0.64 - lift, x + 0.43, -0.5 - lift, ink)
        peak = look.between(4, -0.2, 0.2)
        canvas.shape(
            [(x - 0.4, 0.4 - lift), (x + peak, -0.2 - lift), (x + 0.43, 0.4 - lift)],
            shade(cover, 1.4),
        )
        canvas.disc(x + look.between(5, -0.2, 0.25), -0.24 - lift, look.between(6, 0.06, 0.16), ink)
        canvas.box(x - 0.3, 0.44 - lift, x + 0.1, 0.5 - lift, WHITE)


def camera(canvas: Canvas, look: Appearance) -> None:
    """Draw a camera with its lens."""
    wide = (0.6, 0.72, 0.82)[look.size]
    canvas.box(-0.26, -0.62, 0.26, -0.3, shade(look.body, 0.8), 0.08)
    canvas.box(-wide, -0.42, wide, 0.5, look.body, 0.1)
    canvas.box(-wide, -0.28, wide, 0.34, shade(look.trim, 0.7))
    lens = look.between(4, 0.32, 0.44)
    for share, ink in (
        (1.0, BLACK),
        (0.9, look.accent),
        (0.84, (44, 44, 48)),
        (0.62, BLACK),
        (0.5, (46, 62, 104)),
        (0.3, (20, 26, 44)),
    ):
        canvas.disc(0, 0.06, lens * share, ink)
    canvas.disc(-lens * 0.2, -0.06, lens * 0.1, WHITE)
    for dial in range(look.count(5, 1, 3)):
        canvas.box(wide - 0.2 - dial * 0.2, -0.52, wide - 0.06 - dial * 0.2, -0.42, STEEL, 0.01)
    mark(canvas, look, -wide + 0.16, -0.35, 0.06)
