"""Floors and walls: textures made once from noise, then tinted and projected."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from fb_marketplace.sample.rendering.canvas import Camera, Color

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

SIDE = 1024


@dataclass(frozen=True)
class Material:
    """Material of a surface.

    Attributes:
        texture: name of the texture.
        dark: colour of dark grain.
        light: colour of light grain.
    """

    texture: str
    dark: Color
    light: Color

    def vary_color(self, rng: np.random.Generator) -> Material:
        """Return the material in a slightly different colour, so that no two floors are equal."""
        shift = [int(channel) for channel in rng.integers(-18, 19, 3)]
        dark, light = (
            (_clip(red + shift[0]), _clip(green + shift[1]), _clip(blue + shift[2]))
            for red, green, blue in (self.dark, self.light)
        )
        return replace(self, dark=dark, light=light)


FLOORS = (
    Material("carpet", (128, 112, 96), (192, 178, 158)),
    Material("carpet", (82, 86, 98), (140, 144, 154)),
    Material("carpet", (132, 62, 58), (186, 110, 98)),
    Material("planks", (106, 70, 40), (196, 148, 98)),
    Material("planks", (150, 122, 88), (222, 198, 160)),
    Material("planks", (62, 46, 36), (128, 100, 80)),
    Material("grass", (34, 62, 20), (138, 172, 76)),
    Material("tiles", (150, 150, 146), (228, 227, 220)),
    Material("tiles", (86, 70, 60), (186, 158, 136)),
    Material("paving", (98, 96, 92), (178, 172, 162)),
    Material("cloth", (150, 158, 176), (232, 235, 240)),
    Material("cloth", (92, 104, 92), (168, 180, 160)),
)
WALLS = (
    Material("plaster", (196, 190, 178), (236, 232, 222)),
    Material("plaster", (150, 168, 172), (196, 212, 214)),
    Material("plaster", (176, 160, 132), (222, 208, 180)),
    Material("plaster", (128, 140, 118), (178, 188, 166)),
    Material("plaster", (174, 146, 146), (220, 196, 192)),
    Material("brick", (104, 54, 42), (190, 122, 96)),
    Material("plaster", (92, 100, 114), (132, 142, 156)),
)


def _clip(channel: int) -> int:
    return max(0, min(255, channel))


def _noise(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.float64]:
    from PIL import Image

    field = Image.fromarray(rng.standard_normal((rows, columns)).astype(np.float32))
    return np.asarray(field.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float64)


@cache
def texture(name: str) -> Image.Image:
    """Return a texture, a grey picture of SIDE × SIDE pixels, the same in every process.

    Raises:
        ValueError: unknown texture.
    """
    from PIL import Image

    rng = np.random.default_rng([len(name), *name.encode()])
    row, column = np.mgrid[0:SIDE, 0:SIDE]
    coarse, fine = _noise(rng, 24, 24), _noise(rng, 400, 400)
    if name == "carpet":
        grain = 0.5 + 0.13 * fine + 0.05 * coarse + 0.06 * rng.standard_normal((SIDE, SIDE))
    elif name == "planks":
        plank = row // 96
        shift = (plank * 397) % 640
        tint = rng.uniform(-0.22, 0.22, (40, 8))[plank, ((column + shift) // 520) % 8]
        seams = (row % 96 < 4) | ((column + shift) % 520 < 4)
        grain = 0.55 + tint + 0.09 * _noise(rng, 512, 12) + 0.04 * coarse - 0.4 * seams
    elif name == "grass":
        blades = _noise(rng, 120, 512)
        grain = 0.45 + 0.2 * blades + 0.12 * fine + 0.08 * coarse
    elif name == "tiles":
        joint = (row % 170 < 7) | (column % 170 < 7)
        tint = rng.uniform(-0.08, 0.08, (8, 8))[row // 170, column // 170]
        grain = 0.75 + tint + 0.04 * coarse + 0.02 * fine - 0.5 * joint
    elif name == "paving":
        joint = (row % 256 < 10) | ((column + (row // 256 % 2) * 150) % 340 < 10)
        tint = rng.uniform(-0.1, 0.1, (5, 5))[row // 256, (column + (row // 256 % 2) * 150) // 340]
        grain = 0.6 + tint + 0.1 * fine + 0.07 * coarse - 0.35 * joint
    elif name == "brick":
        joint = (row % 64 < 8) | ((column + (row // 64 % 2) * 80) % 160 < 8)
        tint = rng.uniform(-0.2, 0.2, (17, 8))[row // 64, (column + (row // 64 % 2) * 80) // 160]
        grain = np.where(joint, 0.95, 0.42 + tint) + 0.07 * fine + 0.05 * coarse
    elif name == "cloth":
        weave = 0.03 * ((row // 3 + column // 3) % 2)
        grain = 0.62 + weave + 0.16 * _noise(rng, 9, 7) + 0.03 * fine
    elif name == "plaster":
        grain = 0.6 + 0.1 * _noise(rng, 5, 5) + 0.05 * fine
    else:
        raise ValueError(f"unknown texture {name!r}")
    return Image.fromarray((grain.clip(0, 1) * 255).astype(np.uint8))


def surface(
    material: Material,
    size: tuple[int, int],
    rng: np.random.Generator,
    depth: float = 0.0,
    free: bool = False,
) -> Image.Image:
    """Render part of a surface as a camera sees it.

    Args:
        material: the material.
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
    inverse /= inverse[2, 2]
    projected = texture(material.texture).transform(
        size,
        Image.Transform.PERSPECTIVE,
        tuple(inverse.ravel()[:8].tolist()),
        Image.Resampling.BILINEAR,
        fillcolor=128,
    )
    return ImageOps.colorize(projected, black=material.dark, white=material.light)
