"""Floors and walls: textures made once from noise, then tinted and projected."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fb_marketplace.sample.rendering.canvas import Camera, Color

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

SIDE = 1024


class Surface(NamedTuple):
    """A floor or wall: its texture, and the colours of its dark and light grain."""

    texture: str
    dark: Color
    light: Color

    def vary_color(self, rng: np.random.Generator) -> Surface:
        """Return the surface in a slightly different colour, so that no two floors are equal."""
        shift = rng.integers(-18, 19, 3)
        dark, light = (tuple(np.clip(np.add(color, shift), 0, 255).tolist()) for color in self[1:])
        return Surface(self.texture, dark, light)


FLOORS = (
    Surface("carpet", (128, 112, 96), (192, 178, 158)),
    Surface("carpet", (82, 86, 98), (140, 144, 154)),
    Surface("carpet", (132, 62, 58), (186, 110, 98)),
    Surface("planks", (106, 70, 40), (196, 148, 98)),
    Surface("planks", (150, 122, 88), (222, 198, 160)),
    Surface("planks", (62, 46, 36), (128, 100, 80)),
    Surface("grass", (34, 62, 20), (138, 172, 76)),
    Surface("tiles", (150, 150, 146), (228, 227, 220)),
    Surface("tiles", (86, 70, 60), (186, 158, 136)),
    Surface("cloth", (150, 158, 176), (232, 235, 240)),
    Surface("cloth", (92, 104, 92), (168, 180, 160)),
)
WALLS = (
    Surface("plaster", (196, 190, 178), (236, 232, 222)),
    Surface("plaster", (150, 168, 172), (196, 212, 214)),
    Surface("plaster", (176, 160, 132), (222, 208, 180)),
    Surface("plaster", (128, 140, 118), (178, 188, 166)),
    Surface("plaster", (174, 146, 146), (220, 196, 192)),
    Surface("brick", (104, 54, 42), (190, 122, 96)),
    Surface("plaster", (92, 100, 114), (132, 142, 156)),
)


@cache
def texture(name: str) -> Image.Image:
    """Return a texture, a grey picture of SIDE × SIDE pixels, the same in every process.

    Raises:
        ValueError: unknown texture.
    """
    from PIL import Image

    rng = np.random.default_rng([len(name), *name.encode()])

    def noise(rows: int, columns: int) -> NDArray[np.float64]:
        field = Image.fromarray(rng.standard_normal((rows, columns)).astype(np.float32))
        return np.asarray(field.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float64)

    def cells(high: int, wide: int, shift: int, joint: int) -> tuple[NDArray[np.bool_], ...]:
        """Return where the joints are, and a tint for each tile, brick or plank."""
        columns = column + (row // high * shift) % (2 * wide)
        tints = rng.uniform(-0.2, 0.2, (SIDE // high + 1, 4))[row // high, columns // wide % 4]
        return (row % high < joint) | (columns % wide < joint), tints

    row, column = np.mgrid[0:SIDE, 0:SIDE]
    coarse, fine = noise(24, 24), noise(400, 400)
    if name == "carpet":
        grain = 0.5 + 0.13 * fine + 0.05 * coarse + 0.06 * rng.standard_normal((SIDE, SIDE))
    elif name == "planks":
        joints, tints = cells(96, 520, 397, 4)
        grain = 0.55 + tints + 0.09 * noise(512, 12) + 0.04 * coarse - 0.4 * joints
    elif name == "grass":
        grain = 0.45 + 0.2 * noise(120, 512) + 0.12 * fine + 0.08 * coarse
    elif name == "tiles":
        joints, tints = cells(170, 170, 0, 7)
        grain = 0.75 + 0.4 * tints + 0.04 * coarse + 0.02 * fine - 0.5 * joints
    elif name == "brick":
        joints, tints = cells(64, 160, 80, 8)
        grain = np.where(joints, 0.95, 0.42 + tints) + 0.07 * fine + 0.05 * coarse
    elif name == "cloth":
        grain = 0.62 + 0.03 * ((row // 3 + column // 3) % 2) + 0.16 * noise(9, 7) + 0.03 * fine
    elif name == "plaster":
        grain = 0.6 + 0.1 * noise(5, 5) + 0.05 * fine
    else:
        raise ValueError(f"unknown texture {name!r}")
    return Image.fromarray((grain.clip(0, 1) * 255).astype(np.uint8))


def project(
    surface: Surface,
    size: tuple[int, int],
    rng: np.random.Generator,
    depth: float = 0.0,
    free: bool = False,
) -> Image.Image:
    """Render part of a surface as a camera sees it.

    Args:
        surface: the surface.
        size: width and height of the picture, in pixels.
        rng: decides position, scale and rotation.
        depth: 0: seen from the front; 1: seen along the surface, as a floor with its far edge at the top.
        free: whether to rotate it by any angle, as a floor seen from above.

    Returns:
        An RGB picture of that size.
    """
    from PIL import Image, ImageOps

    wide, high = size
    scale = rng.uniform(0.75, 1.25) * 480 / max(wide, high)
    turn = rng.uniform(-1.5, 1.5) if free else rng.uniform(-0.12, 0.12)
    centre = (SIDE / 2 + float(rng.uniform(-90, 90)), SIDE / 2 + float(rng.uniform(-90, 90)))
    to_texture = Camera(centre, scale, turn, fall=(0.0, depth / high)).matrix()
    # From pixels to object space: the middle of the picture is the centre of the camera.
    to_middle = np.array([[1, 0, -wide / 2], [0, 1 + depth, -high / 2], [0, 0, 1.0]])
    inverse = to_texture @ to_middle
    projected = texture(surface.texture).transform(
        size,
        Image.Transform.PERSPECTIVE,
        tuple((inverse / inverse[2, 2]).ravel()[:8].tolist()),
        Image.Resampling.BILINEAR,
        fillcolor=128,
    )
    return ImageOps.colorize(projected, black=surface.dark, white=surface.light)
