"""ICC profiles: a photo is converted from its profile to sRGB before the profile is dropped.

Unusable profiles, and profiles that equal sRGB, are ignored: the photo keeps its pixels exactly.
"""

import io
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

MAX_BYTES: Final = 4 * 1024 * 1024
"""Larger profiles are ignored. Those of printing presses have about two megabytes."""

MAX_TAGS: Final = 100

_MODES: Final = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
"""Image mode of each colour space."""

_CLASSES: Final = frozenset([b"mntr", b"scnr", b"prtr", b"spac"])

_ROUNDING: Final = 3
"""Levels by which the profiles of sRGB that programs write differ from each other."""


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an image as RGB, converted from its profile to sRGB.

    Args:
        image: an image without transparency.
        profile: its ICC profile, if any. One for another mode is ignored.
    """
    if image.mode == "1":
        image = image.convert("L")
    transform = _transform(bytes(profile), image.mode) if profile else None
    if transform is None:
        return image.convert("RGB")
    return transform.apply(image)


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> "ImageCmsTransform | None":
    """Return the transform to sRGB; None if the profile is unusable, or equals sRGB."""
    from PIL import ImageCms

    if _mode_of(profile) != mode:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode != "CMYK":
            colors = _all_greys() if mode == "L" else _coarse_colors()
            expected = np.asarray(colors.convert("RGB"), dtype=np.int16)
            change = np.abs(np.asarray(transform.apply(colors), dtype=np.int16) - expected)
            if change.max() <= _ROUNDING:
                return None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return transform


def _mode_of(profile: bytes) -> str | None:
    """Return the image mode that a profile is for; None if the profile is unusable (ICC.1:2022, 7.2).

    Profiles with elements of type ``mpet`` are unusable too. Such an element may consist of half a million
    steps for each pixel, and no camera, scanner or editor writes it.
    """
    count = int.from_bytes(profile[128:132], "big")
    if len(profile) > MAX_BYTES or profile[36:40] != b"acsp" or count > MAX_TAGS:
        return None
    tags = (profile[start : start + 12] for start in range(132, 132 + 12 * count, 12))
    offsets = (int.from_bytes(tag[4:8], "big") for tag in tags)
    if profile[12:16] not in _CLASSES or any(profile[at : at + 4] == b"mpet" for at in offsets):
        return None
    return _MODES.get(profile[16:20])


def _all_greys() -> Image.Image:
    return Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis])


def _coarse_colors() -> Image.Image:
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(9, 81, 3))
