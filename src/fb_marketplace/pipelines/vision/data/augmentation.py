"""What training does to photos so that no two epochs see the same, and mixup."""

from functools import reduce
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from fb_marketplace.parameters.vision import AugmentationParameters

BAR: Final = 24
"""Brightness up to which a row or column counts as a black bar: JPEG leaves some noise in them."""
MIN_CONTENT: Final = 32
"""Pixels below which what is left between the bars is taken for a dark photo, not for content."""
TRIES: Final = 10
"""Crops that are drawn until one lies within the content."""


class CropBox(NamedTuple):
    """Part of a photo, in pixels; right and bottom are outside."""

    left: int
    top: int
    right: int
    bottom: int


def random_content_box(pixels: NDArray[np.uint8]) -> CropBox:
    """Find what lies between the black bars of a letterboxed photo, uint8 (side, side, 3)."""
    # Not pixels.max(axis=2), which takes half as long as all that is done to a photo.
    bright = reduce(np.maximum, np.moveaxis(pixels, 2, 0)) > BAR
    rows, columns = (np.flatnonzero(bright.mean(axis=axis) > 0.02) for axis in (1, 0))
    if len(rows) < MIN_CONTENT or len(columns) < MIN_CONTENT:
        return CropBox(0, 0, pixels.shape[1], pixels.shape[0])
    return CropBox(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def augment(
    pixels: NDArray[np.uint8], generator: np.random.Generator, told: AugmentationParameters
) -> NDArray[np.uint8]:
    """Crop a part of the content, bring it to a square, mirror it, change its light and colour.

    A network asked about whole photos at a larger side than it was trained at sees things about as
    large as in training, where crops show them larger (Touvron et al., 2019, "Fixing the train-test
    resolution discrepancy"); and smaller photos are trained on in less time.

    Args:
        pixels: a canonical photo, uint8 (256, 256, 3).
        generator: says how; the same state gives the same photo.
        told: how far each change goes, and the side of what is given.

    Returns:
        uint8, (side, side, 3).
    """
    part = _crop(random_content_box(pixels), generator, told)
    square = (told.side, told.side)
    photo = Image.fromarray(pixels).resize(square, Image.Resampling.BILINEAR, box=part)
    if generator.random() < told.mirrored:
        photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        strength = 1 + told.light * generator.uniform(-1, 1)
        photo = change(photo).enhance(strength)
    return np.asarray(photo)


def sample_mixup_share(generator: np.random.Generator, alpha: float) -> float:
    """Draw the share of a photo in its mixture with another (Zhang et al., 2018): 1 is itself alone.

    It is half or more: as every photo of a batch is mixed with one of the same, the smaller shares
    would only name the same pairs the other way round.
    """
    share = float(generator.beta(alpha, alpha)) if alpha else 1.0
    return max(share, 1 - share)


def _crop(
    content: CropBox, generator: np.random.Generator, told: AugmentationParameters
) -> CropBox:
    """Draw a part of the content as torchvision's RandomResizedCrop does; where none fits, a square."""
    width, height = content.right - content.left, content.bottom - content.top
    wide = high = min(width, height)
    for _ in range(TRIES):
        area = generator.uniform(told.smallest_crop, 1) * width * height
        stretch = np.exp(generator.uniform(-1, 1) * np.log(told.stretched))
        drawn = round(float(np.sqrt(area * stretch))), round(float(np.sqrt(area / stretch)))
        if 0 < drawn[0] <= width and 0 < drawn[1] <= height:
            wide, high = drawn
            break
    left = content.left + int(generator.integers(width - wide + 1))
    top = content.top + int(generator.integers(height - high + 1))
    return CropBox(left, top, left + wide, top + high)
