"""Photos of products: an object in front of a backdrop, with light and a camera."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from fb_marketplace.sample.rendering.appearance import LOGOS, Appearance, wear
from fb_marketplace.sample.rendering.backdrops import FLOORS, WALLS, surface
from fb_marketplace.sample.rendering.canvas import Camera, Canvas, shade
from fb_marketplace.sample.rendering.objects.registry import OBJECT_TYPES, ObjectType

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

_SUPERSAMPLING = 2
_COARSE = 4  # scale of light and shadow, which are soft


def render_photo(
    appearance: Appearance, kind: str, size: tuple[int, int], rng: np.random.Generator, slot: int
) -> Image.Image:
    """Render a photo of a product.

    Args:
        appearance: appearance of the product.
        kind: a key of `OBJECT_TYPES`.
        size: width and height in pixels.
        rng: decides backdrop, light and camera.
        slot: number of the product's photo; decides the kind of view.

    Returns:
        An RGB picture.
    """
    from PIL import Image, ImageFilter

    object_type = OBJECT_TYPES[kind]
    backdrop, horizon = _backdrop(object_type, size, rng, slot)
    if rng.random() < 0.36:
        _add_clutter(backdrop, rng, horizon)
        backdrop = backdrop.filter(ImageFilter.BoxBlur(max(size) / 600))
    thing, corner = _object(appearance, object_type, size, rng, slot)
    alpha = Image.new("L", size)
    alpha.paste(thing.getchannel("A"), corner)
    coarse = alpha.reduce(_COARSE)
    fall = (int(rng.uniform(-0.03, 0.03) * coarse.width), int(0.025 * coarse.height) + 1)
    shadow = Image.new("L", coarse.size)
    shadow.paste(coarse, fall)
    shadow = shadow.filter(ImageFilter.GaussianBlur(coarse.width / 45))
    depth = rng.uniform(0.42, 0.68)
    shadow = shadow.point([int(level * depth) for level in range(256)]).resize(size)
    backdrop.paste((12, 12, 16), mask=shadow)
    backdrop.paste(thing, corner, mask=thing)
    return _expose(backdrop, coarse, rng)


def render_cut_out(
    appearance: Appearance, kind: str, size: tuple[int, int], rng: np.random.Generator
) -> Image.Image:
    """Render a product without a backdrop.

    Args:
        appearance: appearance of the product.
        kind: a key of `OBJECT_TYPES`.
        size: width and height in pixels.
        rng: decides the view.

    Returns:
        An RGBA picture, transparent around the object.
    """
    from PIL import Image

    thing, corner = _object(appearance, OBJECT_TYPES[kind], size, rng, slot=0)
    picture = Image.new("RGBA", size)
    picture.paste(thing, corner)
    return picture


def _backdrop(
    object_type: ObjectType, size: tuple[int, int], rng: np.random.Generator, slot: int
) -> tuple[Image.Image, int]:
    """Return a backdrop, and the row of pixels between wall and floor (0: all floor)."""
    wide, high = size
    # Photos of one product alternate between two halves of the floors, so they never share one.
    floor = FLOORS[int(rng.integers(0, len(FLOORS) // 2)) * 2 + slot % 2].vary_color(rng)
    if object_type.stance == "lies" or rng.random() < 0.12:
        return surface(floor, size, rng, free=True), 0
    wall = WALLS[int(rng.integers(0, len(WALLS)))].vary_color(rng)
    horizon = int(high * rng.uniform(0.5, 0.72))
    backdrop = surface(wall, size, rng)
    backdrop.paste(surface(floor, (wide, high - horizon), rng, depth=0.8), (0, horizon))
    if wall.texture == "plaster" and floor.texture != "grass":
        board = max(3, int(high * rng.uniform(0.012, 0.035)))
        backdrop.paste(shade(wall.light, 1.4), (0, horizon - board, wide, horizon))
        backdrop.paste(shade(wall.dark, 0.55), (0, horizon, wide, horizon + max(1, board // 6)))
    return backdrop, horizon


def _camera(
    object_type: ObjectType, size: tuple[int, int], rng: np.random.Generator, slot: int
) -> Camera:
    """Return a camera that faces the object in even slots, and sees it from the side in odd ones."""
    wide, high = size
    lies, facing = object_type.stance == "lies", slot % 2 == 0
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
    appearance: Appearance,
    object_type: ObjectType,
    size: tuple[int, int],
    rng: np.random.Generator,
    slot: int,
) -> tuple[Image.Image, tuple[int, int]]:
    """Return the object as RGBA, cropped to its box in the picture, and the box's upper left corner."""
    from PIL import Image

    camera = _camera(object_type, size, rng, slot)
    left, top, right, bottom = _object_box(camera, size)
    finer = replace(
        camera,
        centre=(
            (camera.centre[0] - left) * _SUPERSAMPLING,
            (camera.centre[1] - top) * _SUPERSAMPLING,
        ),
        scale=camera.scale * _SUPERSAMPLING,
    )
    # Transparent pixels have the object's colour, or its edge would darken when reduced.
    picture = Image.new(
        "RGBA",
        ((right - left) * _SUPERSAMPLING, (bottom - top) * _SUPERSAMPLING),
        (*shade(appearance.body, 0.8), 0),
    )
    canvas = Canvas(picture, finer)
    object_type.draw(canvas, appearance)
    if appearance.wear > 0.06:
        alpha = picture.getchannel("A")
        wear(canvas, appearance)
        picture.putalpha(alpha)
    return picture.reduce(_SUPERSAMPLING), (left, top)


def _object_box(camera: Camera, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the part of a picture that can show the object."""
    reach = 1.15
    corners = np.array(
        [[-reach, reach, reach, -reach], [-reach, -reach, reach, reach], [1, 1, 1, 1]]
    )
    x, y, depth = camera.matrix() @ corners
    columns, rows = x / depth, y / depth
    return (
        max(0, int(columns.min())),
        max(0, int(rows.min())),
        min(size[0], int(columns.max()) + 1),
        min(size[1], int(rows.max()) + 1),
    )


def _add_clutter(backdrop: Image.Image, rng: np.random.Generator, horizon: int) -> None:
    wide, high = backdrop.size
    kinds = tuple(OBJECT_TYPES)
    for _ in range(int(rng.integers(1, 4))):
        appearance = random_appearance(rng)
        scale = float(rng.uniform(0.12, 0.3)) * min(wide, high)
        side = float(rng.choice([rng.uniform(-0.02, 0.24), rng.uniform(0.76, 1.02)]))
        ground = horizon + 0.1 * high if horizon else float(rng.uniform(0.1, 0.95)) * high
        turn = 0.0 if horizon else float(rng.uniform(-math.pi, math.pi))
        camera = Camera(
            (wide * side, ground - scale * 0.5), scale, turn, float(rng.uniform(0.7, 1))
        )
        OBJECT_TYPES[kinds[int(rng.integers(0, len(kinds)))]].draw(
            Canvas(backdrop, camera), appearance
        )


def random_appearance(rng: np.random.Generator) -> Appearance:
    """Return the appearance of an object without a brand, in muted colours."""
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
    """Return a picture with light: relief on the object, a gradient, dark corners, sensor noise.

    Args:
        picture: RGB, the object in front of its backdrop.
        coarse: the object's outline at the scale of light and shadow.
        rng: decides light and camera.
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
