"""Augmentation of training photos, and mixup weights."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from fb_marketplace.parameters.vision import AugmentationParameters
from fb_marketplace_serving.imaging.letterbox import photo_box

TRIES: Final = 10
"""Random crops to try until one lies within the content."""


class CropBox(NamedTuple):
    """Part of a photo, in pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int


def augment(
    pixels: NDArray[np.uint8], generator: np.random.Generator, parameters: AugmentationParameters
) -> NDArray[np.uint8]:
    """Crop the content, resize to a square, flip, and jitter the colors.

    Crops show objects larger than whole photos do, so validation at a larger side than training sees
    objects of about the same size (Touvron et al., 2019, "Fixing the train-test resolution
    discrepancy"). Smaller crops also train faster.

    Args:
        pixels: a canonical photo, uint8, (256, 256, 3).
        generator: source of randomness; the same state gives the same result.
        parameters: strength of each change, and the side of the result.

    Returns:
        uint8, (side, side, 3).
    """
    box = _random_crop(CropBox(*photo_box(pixels)), generator, parameters)
    size = (parameters.crop_size, parameters.crop_size)
    photo = Image.fromarray(pixels).crop(box).resize(size, Image.Resampling.BILINEAR)
    if generator.random() < parameters.hflip_prob:
        photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        factor = 1 + parameters.color_jitter * generator.uniform(-1, 1)
        photo = enhance(photo).enhance(factor)
    return np.asarray(photo)


def sample_mixup_share(generator: np.random.Generator, alpha: float) -> float:
    """Sample the mixup weight (lambda) of a photo (Zhang et al., 2018); 1 means no mixup.

    It is 0.5 or more: photos of a batch are mixed with each other, so smaller shares would give the same
    pairs in the other order.
    """
    share = float(generator.beta(alpha, alpha)) if alpha else 1.0
    return max(share, 1 - share)


def _random_crop(
    content: CropBox, generator: np.random.Generator, parameters: AugmentationParameters
) -> CropBox:
    """Sample a crop as torchvision's RandomResizedCrop does; a square if no sample fits."""
    width, height = content.right - content.left, content.bottom - content.top
    crop_width = crop_height = min(width, height)
    for _ in range(TRIES):
        area = generator.uniform(parameters.min_scale, 1) * width * height
        ratio = np.exp(generator.uniform(-1, 1) * np.log(parameters.max_aspect_ratio))
        sampled = round(float(np.sqrt(area * ratio))), round(float(np.sqrt(area / ratio)))
        if 0 < sampled[0] <= width and 0 < sampled[1] <= height:
            crop_width, crop_height = sampled
            break
    left = content.left + int(generator.integers(width - crop_width + 1))
    top = content.top + int(generator.integers(height - crop_height + 1))
    return CropBox(left, top, left + crop_width, top + crop_height)
