"""A photo of a product: the object in a place, under a light, seen by a camera."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from fb_marketplace.sample.rendering.appearance import LOGOS, Appearance, wear
from fb_marketplace.sample.rendering.backdrops import FLOORS, WALLS, surface
from fb_marketplace.sample.rendering.canvas import Camera, Canvas, adjust_brightness
from fb_marketplace.sample.rendering.objects.registry import OBJECT_TYPES, ObjectType

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

_SUPERSAMPLING = 2
_COARSE = 4  # light and shadow are soft, so they are worked out on a coarser grid


def render_photo(
    look: Appearance, kind: str, size: tuple[int, int], rng: np.random.Generator, slot: int
) -> Image.Image:
    """Takes a photo of a product where it is.

    Args:
        look: what the product looks like.
        kind: what it is, a key of `OBJECT_TYPES`.
        size: width and height in pixels.
        rng: decides the place, the light and the camera.
        slot: number of the photo among the product's own; each has its own kind of view.

    Returns:
        An RGB picture.
    """
    from PIL import Image, ImageFilter

    archetype = OBJECT_TYPES[kind]
    place, horizon = _place(archetype, size, rng, slot)
    if rng.random() < 0.36:
        _clutter(place, rng, horizon)
        place = place.filter(ImageFilter.BoxBlur(max(size) / 600))
    thing, corner = _object(look, archetype, size, rng, slot)
    alpha = Image.new("L", size)
    alpha.paste(thing.getchannel("A"), corner)
    coarse = alpha.reduce(_COARSE)
    fall = (int(rng.uniform(-0.03, 0.03) * coarse.width), int(0.025 * coarse.height) + 1)
    shadow = Image.new("L", coarse.size)
    shadow.paste(coarse, fall)
    shadow = shadow.filter(ImageFilter.GaussianBlur(coarse.width / 45))
    depth = rng.uniform(0.42, 0.68)
    shadow = shadow.point([int(level * depth) for level in range(256)]).resize(size)
    place.paste((12, 12, 16), mask=shadow)
    place.paste(thing, corner, mask=thing)
    return _expose(place, coarse, rng)


def render_cut_out(
    look: Appearance, kind: str, size: tuple[int, int], rng: np.random.Generator
) -> Image.Image:
    """A product without any place around it.

    Args:
        look: what the product looks like.
        kind: what it is, a key of `OBJECT_TYPES`.
        size: width and height in pixels.
        rng: decides the view.

    Returns:
        An RGBA picture, transparent around the object.
    """
    from PIL import Image

    thing, corner = _object(look, OBJECT_TYPES[kind], size, rng, slot=0)
    canvas = Image.new("RGBA", size)
    canvas.paste(thing, corner)
    return canvas


def _place(
    archetype: ObjectType, size: tuple[int, int], rng: np.random.Generator, slot: int
) -> tuple[Image.Image, int]:
    """The place, and the row of pixels at which its wall meets its floor (0: all floor)."""
    wide, high = size
    # Photos of one product alternate between two halves of the materials, so they never share one.
    floor = FLOORS[int(rng.integers(0, len(FLOORS) // 2)) * 2 + slot % 2].dyed(rng)
    if archetype.stance == "lies" or rng.random() < 0.12:
        return surface(floor, size, rng, free=True), 0
    wall = WALLS[int(rng.integers(0, len(WALLS)))].dyed(rng)
    horizon = int(high * rng.uniform(0.5, 0.72))
    place = surface(wall, size, rng)
    place.paste(surface(floor, (wide, high - horizon), rng, depth=0.8), (0, horizon))
    if wall.texture == "plaster" and floor.texture != "grass":
        board = max(3, int(high * rng.uniform(0.012, 0.035)))
        place.paste(adjust_brightness(wall.light, 1.4), (0, horizon - board, wide, horizon))
        place.paste(
            adjust_brightness(wall.dark, 0.55), (0, horizon, wide, horizon + max(1, board // 6))
        )
    return place, horizon


def _view(
    archetype: ObjectType, size: tuple[int, int], rng: np.random.Generator, slot: int
) -> Camera:
    """A camera that faces the object in even slots; in odd ones it stands elsewhere, turned."""
    wide, high = size
    lies, facing = archetype.stance == "lies", slot % 2 == 0
    if facing:
        near, squeeze = float(rng.uniform(0.68, 0.92)), float(rng.uniform(0.92, 1.04))
    else:
        near = float(rng.choice([0.62, 0.74, 1.08]) * rng.uniform(0.9, 1.12))
        squeeze = float(rng.uniform(0.7, 0.9))
    if not lies:
        turn = float(rng.uniform(-0.07, 0.07))
    elif facing:
        turn = float(rng.uniform(-0.5, 0.5))
    else:
        turn = float(rng.choice([-1, 1]) * rng.uniform(0.6, 1.6))
    fall = (float(rng.uniform(-0.14, 0.14)), float(rng.uniform(-0.08, 0.08)))
    # The smaller the object in the picture, the further from the middle it may be.
    loose = max(0.0, 1 - near) * 0.7
    centre = (
        wide * (0.5 + float(rng.uniform(-0.16, 0.16)) * (loose + 0.2)),
        high * (0.52 + float(rng.uniform(-0.06, 0.16)) * (loose + 0.1)),
    )
    shear = float(rng.uniform(-0.08, 0.08))
    return Camera(centre, near * min(wide, high) / 2, turn, squeeze, shear, fall)


def _object(
    look: Appearance,
    archetype: ObjectType,
    size: tuple[int, int],
    rng: np.random.Generator,
    slot: int,
) -> tuple[Image.Image, tuple[int, int]]:
    """The object alone as RGBA, cut to where it is in the picture, and that cut's upper left."""
    from PIL import Image

    view = _view(archetype, size, rng, slot)
    left, top, right, bottom = _frame(view, size)
    finer = replace(
        view,
        centre=(
            (view.centre[0] - left) * _SUPERSAMPLING,
            (view.centre[1] - top) * _SUPERSAMPLING,
        ),
        scale=view.scale * _SUPERSAMPLING,
    )
    # Transparent pixels carry the object's colour: else its edge would darken when reduced.
    canvas = Image.new(
        "RGBA",
        ((right - left) * _SUPERSAMPLING, (bottom - top) * _SUPERSAMPLING),
        (*adjust_brightness(look.body, 0.8), 0),
    )
    pen = Canvas(canvas, finer)
    archetype.draw(pen, look)
    if look.wear > 0.06:
        solid = canvas.getchannel("A")
        wear(pen, look)
        canvas.putalpha(solid)
    return canvas.reduce(_SUPERSAMPLING), (left, top)


def _frame(view: Camera, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of a picture that a view's object can be in."""
    reach = 1.15
    corners = np.array(
        [[-reach, reach, reach, -reach], [-reach, -reach, reach, reach], [1, 1, 1, 1]]
    )
    x, y, depth = view.matrix() @ corners
    columns, rows = x / depth, y / depth
    return (
        max(0, int(columns.min())),
        max(0, int(rows.min())),
        min(size[0], int(columns.max()) + 1),
        min(size[1], int(rows.max()) + 1),
    )


def _clutter(place: Image.Image, rng: np.random.Generator, horizon: int) -> None:
    wide, high = place.size
    kinds = tuple(OBJECT_TYPES)
    for _ in range(int(rng.integers(1, 4))):
        look = random_appearance(rng)
        scale = float(rng.uniform(0.12, 0.3)) * min(wide, high)
        side = float(rng.choice([rng.uniform(-0.02, 0.24), rng.uniform(0.76, 1.02)]))
        ground = horizon + 0.1 * high if horizon else float(rng.uniform(0.1, 0.95)) * high
        turn = 0.0 if horizon else float(rng.uniform(-math.pi, math.pi))
        view = Camera((wide * side, ground - scale * 0.5), scale, turn, float(rng.uniform(0.7, 1)))
        OBJECT_TYPES[kinds[int(rng.integers(0, len(kinds)))]].draw(Canvas(place, view), look)


def random_appearance(rng: np.random.Generator) -> Appearance:
    """The look of a thing that is nobody's product: muted, of no brand."""
    hues = rng.integers(50, 210, (3, 3)).tolist()
    body, accent, trim = ((int(r), int(g), int(b)) for r, g, b in hues)
    return Appearance(
        body,
        accent,
        trim,
        LOGOS[int(rng.integers(0, 8))],
        int(rng.integers(0, 3)),
        0.0,
        tuple(rng.random(8).tolist()),
    )


@cache
def _grain() -> NDArray[np.float32]:
    field: NDArray[np.float32] = np.random.default_rng(41).standard_normal((1400, 1400), np.float32)
    return field


def _expose(picture: Image.Image, coarse: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Lights a picture: relief on the object, a fall of light, a lens's dark corners, a sensor.

    Args:
        picture: RGB, the object in its place.
        coarse: the object's outline on the coarse grid.
        rng: decides the light and the camera.

    Returns:
        The RGB picture as it was taken.
    """
    from PIL import Image, ImageFilter

    wide, high = picture.size
    solid = np.asarray(coarse, np.float32) / 255
    soft = np.asarray(coarse.filter(ImageFilter.GaussianBlur(coarse.width / 26)), np.float32) / 255
    towards = rng.uniform(-2.6, -0.5)
    down, right = np.gradient(soft)
    slope = (right * math.cos(towards) + down * math.sin(towards)) * coarse.width / 26
    row, column = np.mgrid[-1 : 1 : coarse.height * 1j, -1 : 1 : coarse.width * 1j]
    lens = 1 - rng.uniform(0.06, 0.26) * (row**2 + column**2) / 2
    window = 1 + rng.uniform(0.02, 0.2) * (row * math.sin(towards) + column * math.cos(towards))
    light = lens * window * (1 - 0.5 * slope * solid) * rng.uniform(0.8, 1.16)
    full = Image.fromarray(light.astype(np.float32)).resize((wide, high), Image.Resampling.BILINEAR)
    warmth = rng.uniform(-0.1, 0.1)
    tint = np.array([1 + warmth, 1.0, 1 - warmth], np.float32)
    top, left = int(rng.integers(0, 400)), int(rng.integers(0, 400))
    sensor = _grain()[top : top + high, left : left + wide] * np.float32(rng.uniform(1.2, 4.0))
    taken = np.asarray(full)[..., None] * tint
    np.multiply(np.asarray(picture), taken, out=taken)
    taken += sensor[..., None]
    return Image.fromarray(np.clip(taken, 0, 255, out=taken).astype(np.uint8))
