"""Alignment of two pictures, and their agreement block by block."""

import io
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fb_marketplace.parameters.cleaning import DuplicateParameters
from fb_marketplace_serving.imaging.letterbox import content_box

_SIDE: Final = 128  # pixels of the long side when pictures are compared
_BLOCK: Final = 8
# Long side, blur, iterations, and tolerance of each step: a multiple of the maximum shear and stretch.
_COARSE_TO_FINE: Final = ((32, 3, 5, 8), (64, 3, 10, 4), (_SIDE, 1, 10, 1))
_MIN_CONTRAST: Final = 6.0  # grey levels (RMS): a block with less shows only noise
_NOISE_POWER: Final = 4.0  # grey levels squared, added to the denominator of correlations
_MAX_GUESS_STRETCH: Final = 1.5  # ratio of x to y scale; crops stay below it
_MAX_IGNORED_TEXTURE: Final = 0.3  # at most this share of the textured blocks is ignored
_SCORE_QUANTILE: Final = 0.1  # quantile of the remaining block correlations: the score


def content_region(jpeg: bytes) -> NDArray[np.uint8]:
    """Return the greyscale picture between the black bars of a canonical photo.

    Returns:
        uint8, (height, width); the longer side has 128 pixels.
    """
    # Pillow decodes, because the grey levels of OpenCV may differ between builds.
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        image.draft("L", image.size)
        grey = np.asarray(image.convert("L"))
    left, top, right, bottom = content_box(grey)
    return _resize(grey[top:bottom, left:right], _SIDE).astype(np.uint8)


def _resize(picture: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    import cv2

    height, width = picture.shape
    scale = side / max(height, width)
    size = max(_BLOCK, round(width * scale)), max(_BLOCK, round(height * scale))
    resized: NDArray[np.float32] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(
        np.float32
    )
    return resized


def alignment_agreement(
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    guess: NDArray[np.float64],
    parameters: DuplicateParameters,
) -> float:
    """Return how well two pictures agree after alignment.

    ECC refines the guess from coarse to fine resolution: G. D. Evangelidis and E. Z. Psarakis, "Parametric
    Image Alignment Using Enhanced Correlation Coefficient Maximization", 2008. It aligns outlines rather
    than grey levels, so a strong watermark has no more weight than any other region of its size.

    Args:
        first: uint8, (height, width), from :func:`content_region`.
        second: uint8, (height, width).
        guess: float64, (2, 3): affine map from fractions of the first picture to those of the second.
        parameters: thresholds.

    Returns:
        Agreement, 0 to 1; 0 if the pictures cannot be aligned by a shift and a scale.
    """
    import cv2

    transform = guess
    stretch = _stretch(_in_pixels(transform, first, second))
    if not 1 / _MAX_GUESS_STRETCH < stretch < _MAX_GUESS_STRETCH:
        return 0.0
    for side, blur, iterations, tolerance in _COARSE_TO_FINE:
        fixed, moving = _resize(first, side), _resize(second, side)
        start = _in_pixels(transform, fixed, moving).astype(np.float32)
        stop = cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, iterations, 1e-4
        mask = np.full(moving.shape, 255, dtype=np.uint8)
        try:
            outlines = _outlines(fixed), _outlines(moving)
            correlation, matrix = cv2.findTransformECC(
                *outlines, start, cv2.MOTION_AFFINE, stop, mask, blur
            )
        except cv2.error:  # the pictures have nothing in common
            return 0.0
        if correlation < parameters.min_convergence:
            return 0.0
        warp = np.asarray(matrix)
        (scale_x, shear_x), (shear_y, scale_y) = warp[:, :2].tolist()
        shear = max(abs(shear_x / scale_y), abs(shear_y / scale_x))
        stretch = abs(np.log(_stretch(warp)))
        if shear > tolerance * parameters.max_shear or stretch > tolerance * parameters.max_stretch:
            return 0.0
        transform = _in_fractions(warp, fixed, moving)
    return _block_agreement(fixed, moving, warp, parameters)


def _block_agreement(
    fixed: NDArray[np.float32],
    moving: NDArray[np.float32],
    warp: NDArray[Any],
    parameters: DuplicateParameters,
) -> float:
    """Return a low quantile of the block correlations.

    The lowest correlations are ignored, because a watermark may cover those blocks.
    """
    import cv2

    size, flags = fixed.shape[::-1], cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    coverage = _blocks(cv2.warpAffine(np.ones_like(moving), warp, size, flags=flags))
    covered = coverage.min(1) > 0.99
    if covered.mean() < parameters.min_overlap:
        return 0.0
    smooth = [cv2.GaussianBlur(picture, (0, 0), 0.8) for picture in (fixed, moving)]
    warped = cv2.warpAffine(smooth[1], warp, size, flags=flags)
    first, second = _blocks(smooth[0])[covered], _blocks(warped)[covered]
    second = second * (first.std() / max(float(second.std()), 1e-3))
    first, second = (blocks - blocks.mean(axis=1, keepdims=True) for blocks in (first, second))
    power, second_power = (first**2).mean(axis=1), (second**2).mean(axis=1)
    textured = np.maximum(power, second_power) > _MIN_CONTRAST**2
    if textured.sum() < parameters.min_textured_blocks:
        return 0.0
    covariance = (first * second).mean(axis=1)
    correlation = np.sort((covariance / (np.sqrt(power * second_power) + _NOISE_POWER))[textured])
    ignored = min(
        int(parameters.watermark_share * len(first)), int(_MAX_IGNORED_TEXTURE * len(correlation))
    )
    others = correlation[ignored:]
    return max(0.0, float(others[int(_SCORE_QUANTILE * len(others))]))


def _outlines(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a picture with local brightness removed and local contrast equalized."""
    import cv2

    window = (max(picture.shape) // 4 | 1,) * 2
    detail = picture - cv2.blur(picture, window)
    spread = np.sqrt(np.maximum(cv2.blur(detail * detail, window), 0))
    return np.asarray(detail / (spread + _MIN_CONTRAST), dtype=np.float32)


def _blocks(picture: NDArray[Any]) -> NDArray[np.float32]:
    """Split a picture into blocks of 8 × 8 pixels: (blocks, 64)."""
    rows, columns = (length // _BLOCK for length in picture.shape)
    tiles = picture[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    return tiles.swapaxes(1, 2).reshape(rows * columns, _BLOCK**2)


def _in_pixels(
    transform: NDArray[Any], fixed: NDArray[np.generic], moving: NDArray[np.generic]
) -> NDArray[np.float64]:
    pixels: NDArray[np.float64] = (
        _to_pixels(moving) @ _homogeneous(transform) @ np.linalg.inv(_to_pixels(fixed))
    )
    return pixels[:2]


def _in_fractions(
    warp: NDArray[Any], fixed: NDArray[np.generic], moving: NDArray[np.generic]
) -> NDArray[np.float64]:
    fractions: NDArray[np.float64] = (
        np.linalg.inv(_to_pixels(moving)) @ _homogeneous(warp) @ _to_pixels(fixed)
    )
    return fractions[:2]


def _homogeneous(transform: NDArray[Any]) -> NDArray[np.float64]:
    return np.vstack([transform, (0, 0, 1)])


def _to_pixels(picture: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the map from fractions of a picture to pixels; (0, 0) is the centre of the first pixel."""
    height, width = picture.shape
    return np.array([(width, 0, -0.5), (0, height, -0.5), (0, 0, 1)])


def _stretch(transform: NDArray[Any]) -> float:
    """Return the ratio of horizontal to vertical scale."""
    return float(abs(transform[0, 0]) / max(float(transform[1, 1]), 1e-9))
