"""Photos of products: an object among others in a seller's room, with light and a camera."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from fb_marketplace.sample.rendering.backdrops import FLOORS, SIDE, WALLS, project, texture
from fb_marketplace.sample.rendering.canvas import Appearance, Camera, Canvas, Color, shade
from fb_marketplace.sample.rendering.shapes import SHAPES

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

_SUPERSAMPLING = 2
_COARSE = 4  # scale of light and shadow, which are soft
_STUDIO: Color = (250, 250, 250)
# Full, distant and close views: their scale and their shares in first and in further photos.
_VIEWS = ((0.75, 1.05), (0.4, 0.6), (1.15, 1.7))
_VIEW_SHARES = ((0.84, 0.08, 0.08), (0.62, 0.10, 0.28))
_PLACEHOLDERS = (((214, 216, 220), "No image available"), ((240, 226, 190), "Photo coming soon"))


def render_photo(
    look: Appearance, size: tuple[int, int], rng: np.random.Generator, slot: int
) -> Image.Image:
    """Render a photo of a product.

    Args:
        look: appearance of the product.
        size: width and height in pixels.
        rng: decides backdrop, clutter, light and camera.
        slot: number of the product's photo; later photos are more often close-ups.

    Returns:
        An RGB picture.
    """
    from PIL import Image, ImageFilter

    backdrop, horizon = _backdrop(look, size, rng)
    view = int(rng.choice(3, p=_VIEW_SHARES[min(slot, 1)]))
    camera = _camera(look, size, rng, view, horizon)
    studio = backdrop.getpixel((0, 0)) == _STUDIO
    others = 0 if studio else int(rng.choice(4, p=(0.45, 0.3, 0.15, 0.1)))
    for _ in range(others):
        _add_clutter(backdrop, rng, camera, horizon)
    if others:
        backdrop = backdrop.filter(ImageFilter.BoxBlur(max(size) / 600))
    thing, corner = _object(look, camera, size, rng)
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
    if not studio and rng.random() < 0.06:
        _add_clutter(backdrop, rng, replace(camera, scale=camera.scale * 0.6), horizon)
    if rng.random() < 0.18:
        backdrop = backdrop.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2.4)))
    return _expose(backdrop, coarse, rng)


def render_cut_out(
    look: Appearance, size: tuple[int, int], rng: np.random.Generator
) -> Image.Image:
    """Render a product without a backdrop, as RGBA, transparent around the object."""
    from PIL import Image

    thing, corner = _object(look, _camera(look, size, rng, 0, 0), size, rng)
    picture = Image.new("RGBA", size)
    picture.paste(thing, corner)
    return picture


def render_placeholder(variant: int) -> Image.Image:
    """Render a picture that many listings share in place of a photo."""
    from PIL import Image, ImageDraw, ImageFont

    paper, text = _PLACEHOLDERS[variant % len(_PLACEHOLDERS)]
    picture = Image.new("RGB", (400, 300), paper)
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((140, 70, 260, 160), 12, fill=shade(paper, 0.7))
    draw.ellipse((172, 88, 228, 144), fill=paper, outline=shade(paper, 0.5), width=6)
    font = ImageFont.load_default(30)
    draw.text((200, 220), text, fill=shade(paper, 0.45), font=font, anchor="mm")
    return picture


def _backdrop(
    look: Appearance, size: tuple[int, int], rng: np.random.Generator
) -> tuple[Image.Image, int]:
    """Return a backdrop, and the row of pixels between wall and floor (0: all floor)."""
    from PIL import Image

    wide, high = size
    if rng.random() < 0.06:
        return Image.new("RGB", size, _STUDIO), 0
    # Most photos of a seller are from one room.
    room = np.random.default_rng(look.room) if rng.random() < 0.7 else rng
    floor, wall = (
        kinds[int(room.integers(0, len(kinds)))].vary_color(room) for kinds in (FLOORS, WALLS)
    )
    if look.lies or rng.random() < 0.12:
        return project(floor, size, rng, free=True), 0
    horizon = int(high * rng.uniform(0.5, 0.72))
    backdrop = project(wall, size, rng)
    backdrop.paste(project(floor, (wide, high - horizon), rng, depth=0.8), (0, horizon))
    if wall.texture == "plaster" and floor.texture != "grass":
        board = max(3, int(high * rng.uniform(0.012, 0.035)))
        backdrop.paste(shade(wall.light, 1.4), (0, horizon - board, wide, horizon))
        backdrop.paste(shade(wall.dark, 0.55), (0, horizon, wide, horizon + max(1, board // 6)))
    return backdrop, horizon


def _camera(
    look: Appearance, size: tuple[int, int], rng: np.random.Generator, view: int, horizon: int
) -> Camera:
    """Return a camera for a full (0), distant (1) or close (2) view.

    The object stands on the floor, unless it is seen from near or there is no horizon.
    """
    wide, high = size
    near = float(rng.uniform(*_VIEWS[view])) * (0.88, 1.0, 1.1)[look.size]
    turn = float(rng.uniform(-1.2, 1.2) if look.lies else rng.uniform(-0.09, 0.09))
    fall = (float(rng.uniform(-0.16, 0.16)), float(rng.uniform(-0.08, 0.08)))
    spread = 0.13 if view == 0 else 0.25
    centre = (
        wide * (0.5 + float(rng.uniform(-spread, spread))),
        high * (0.52 + float(rng.uniform(-spread, spread)) * (0.5 if view == 0 else 1)),
    )
    scale = near * min(wide, high) / 2
    if horizon and view < 2:
        ground = horizon + (high - horizon) * float(rng.uniform(0.1, 0.85))
        centre = (centre[0], ground - 0.85 * scale)
    squeeze, shear = float(rng.uniform(0.72, 1.04)), float(rng.uniform(-0.1, 0.1))
    return Camera(centre, scale, turn, squeeze, shear, fall)


def _object(
    look: Appearance, camera: Camera, size: tuple[int, int], rng: np.random.Generator
) -> tuple[Image.Image, tuple[int, int]]:
    """Return the object as RGBA, cropped to its box in the picture, and the box's upper left corner."""
    from PIL import Image, ImageChops

    left, top, right, bottom = _object_box(camera, size)
    x, y = camera.centre
    finer = replace(
        camera,
        centre=((x - left) * _SUPERSAMPLING, (y - top) * _SUPERSAMPLING),
        scale=camera.scale * _SUPERSAMPLING,
    )
    # Transparent pixels have the object's colour, or its edge would darken when reduced.
    picture = Image.new(
        "RGBA",
        ((right - left) * _SUPERSAMPLING, (bottom - top) * _SUPERSAMPLING),
        (*shade(look.body, 0.8), 0),
    )
    canvas = Canvas(picture, finer, look)
    canvas.draw_object()
    if look.wear > 0.06:
        alpha = picture.getchannel("A")
        canvas.scratch(int(look.wear * 18), np.random.default_rng(look.room))
        picture.putalpha(alpha)
    picture = picture.reduce(_SUPERSAMPLING)
    if look.texture:
        x, y = (int(one) for one in rng.integers(0, SIDE - max(size), 2))
        grain = texture(look.texture).crop((x, y, x + picture.width, y + picture.height))
        grain = grain.point([min(255, 150 + level // 2) for level in range(256)]).convert("RGB")
        textured = ImageChops.multiply(picture.convert("RGB"), grain)
        textured.putalpha(picture.getchannel("A"))
        picture = textured
    return picture, (left, top)


def _object_box(camera: Camera, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the part of a picture that can show the object."""
    reach = 1.3
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


def _add_clutter(
    picture: Image.Image, rng: np.random.Generator, camera: Camera, horizon: int
) -> None:
    """Draw another object, smaller than the product and beside its centre."""
    wide, high = picture.size
    shape = list(SHAPES)[int(rng.integers(0, len(SHAPES)))]
    body, accent, trim = (
        (int(red), int(green), int(blue)) for red, green, blue in rng.integers(40, 220, (3, 3))
    )
    stretch = (float(rng.uniform(0.8, 1.2)), float(rng.uniform(0.8, 1.2)))
    style, pattern = int(rng.integers(0, 3)), int(rng.integers(0, 5))
    look = Appearance(shape, style, stretch, body, accent, trim, None, pattern, "", 1, 0.0, 0)
    scale = min(camera.scale, min(wide, high) / 2) * float(rng.uniform(0.35, 0.85))
    side = float(rng.choice((-1, 1)) * rng.uniform(0.25, 0.55))
    y = high * float(rng.uniform(0.1, 0.95))
    if horizon:
        y = horizon + (high - horizon) * float(rng.uniform(0.05, 0.7)) - 0.85 * scale
    turn = 0.0 if horizon else float(rng.uniform(-math.pi, math.pi))
    squeeze = float(rng.uniform(0.7, 1))
    place = (wide * (0.5 + side), y)
    Canvas(picture, Camera(place, scale, turn, squeeze), look).draw_object()


@cache
def _grain() -> NDArray[np.float32]:
    field: NDArray[np.float32] = np.random.default_rng(41).standard_normal((1100, 1100), np.float32)
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
    lens = 1 - rng.uniform(0.06, 0.3) * (row**2 + column**2) / 2
    window = 1 + rng.uniform(0.02, 0.3) * (row * math.sin(towards) + column * math.cos(towards))
    exposure = rng.uniform(0.4, 0.75) if rng.random() < 0.12 else rng.uniform(0.75, 1.3)
    light = lens * window * (1 - 0.5 * slope * solid) * exposure
    full = Image.fromarray(light.astype(np.float32)).resize((wide, high), Image.Resampling.BILINEAR)
    warmth = rng.uniform(-0.1, 0.14)
    tint = np.array([1 + warmth, 1.0, 1 - warmth], np.float32)
    top, left = int(rng.integers(0, 400)), int(rng.integers(0, 400))
    sensor = _grain()[top : top + high, left : left + wide] * np.float32(rng.uniform(1.2, 4.0))
    taken = np.asarray(full)[..., None] * tint
    np.multiply(np.asarray(picture), taken, out=taken)
    taken += sensor[..., None]
    return Image.fromarray(np.clip(taken, 0, 255, out=taken).astype(np.uint8))
