"""What training does to photos so that no two epochs see the same, and mixup."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from fb_marketplace.parameters import AugmentationParameters
from fb_marketplace_serving.photos import SIDE

BAR: Final = 24
"""Brightness up to which a row or column counts as a black bar: JPEG leaves some noise in them."""
MIN_CONTENT: Final = 32
"""Pixels below which what is left between the bars is taken for a dark photo, not for content."""


class Box(NamedTuple):
    """Part of a photo, in pixels; right and bottom are outside."""

    left: int
    top: int
    right: int
    bottom: int


def content_box(pixels: NDArray[np.uint8]) -> Box:
    """Find what lies between the black bars of a letterboxed photo, uint8 (side, side, 3)."""
    bright = pixels.max(axis=2) > BAR
    rows, columns = (np.flatnonzero(bright.mean(axis=axis) > 0.02) for axis in (1, 0))
    if len(rows) < MIN_CONTENT or len(columns) < MIN_CONTENT:
        return Box(0, 0, pixels.shape[1], pixels.shape[0])
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def augmented(
    pixels: NDArray[np.uint8], generator: np.random.Generator, told: AugmentationParameters
) -> NDArray[np.uint8]:
    """Crop a part of the content, letterbox it anew, mirror it, change its light and colour.

    Args:
        pixels: a canonical photo, uint8 (256, 256, 3).
        generator: says how; the same state gives the same photo.
        told: how far each change goes.
    """
    part = _crop(content_box(pixels), generator, told)
    photo = Image.fromarray(pixels).resize(_fitting(part), Image.Resampling.BILINEAR, box=part)
    if generator.random() < told.mirrored:
        photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        strength = 1 + told.light * generator.uniform(-1, 1)
        photo = change(photo).enhance(strength)
    square = Image.new("RGB", (SIDE, SIDE))
    square.paste(photo, ((SIDE - photo.width) // 2, (SIDE - photo.height) // 2))
    return np.asarray(square)


def mixup_share(generator: np.random.Generator, alpha: float) -> float:
    """Draw the share of a photo in its mixture with another (Zhang et al., 2018): 1 is itself alone.

    It is half or more: as every photo of a batch is mixed with one of the same, the smaller shares
    would only name the same pairs the other way round.
    """
    share = float(generator.beta(alpha, alpha)) if alpha else 1.0
    return max(share, 1 - share)


def _crop(content: Box, generator: np.random.Generator, told: AugmentationParameters) -> Box:
    width, height = content.right - content.left, content.bottom - content.top
    area = generator.uniform(told.smallest_crop, 1)
    stretch = np.exp(generator.uniform(-1, 1) * np.log(told.stretched))
    wide = max(1, min(width, round(width * float(np.sqrt(area * stretch)))))
    high = max(1, min(height, round(height * float(np.sqrt(area / stretch)))))
    left = content.left + int(generator.integers(width - wide + 1))
    top = content.top + int(generator.integers(height - high + 1))
    return Box(left, top, left + wide, top + high)


def _fitting(part: Box) -> tuple[int, int]:
    width, height = part.right - part.left, part.bottom - part.top
    scale = SIDE / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))
