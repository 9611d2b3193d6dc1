"""One picture laid over another: how far they agree, block by block."""

import io
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fb_marketplace.parameters.cleaning import DuplicateParameters
from fb_marketplace.pipelines.cleaning.perceptual_hash import letterbox_content_box

_SIDE: Final = 128  # of a picture's long side, in pixels, where it is compared
_BLOCK: Final = 8
_COARSE_TO_FINE: Final = ((32, 3), (64, 3), (_SIDE, 1))  # long side; blur, for a wide catch
_FEATURELESS: Final = 6.0  # grey levels: a block that varies less shows only noise
_NOISE: Final = 4.0  # grey levels squared, in the denominator of a correlation
_OUT_OF_TUNE: Final = 1.5  # ratio of horizontal to vertical scale that no crop explains
_WATERMARKED_TEXTURE: Final = 0.3  # of the blocks that show anything, this share is forgiven
_JUDGED_AT: Final = 0.1  # quantile of block correlation, once those are forgiven


def content_region(jpeg: bytes) -> NDArray[np.uint8]:
    """Give the picture inside the bars of a canonical photo: uint8, grey, 128 pixels at the longer side."""
    # Pillow's decoder and not OpenCV's, whose grey may differ from one build to another.
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        image.draft("L", image.size)
        grey = np.asarray(image.convert("L"))
    left, top, right, bottom = letterbox_content_box(grey)
    return _resized(grey[top:bottom, left:right], _SIDE).astype(np.uint8)


def _resized(picture: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    import cv2

    height, width = picture.shape
    scale = side / max(height, width)
    size = max(_BLOCK, round(width * scale)), max(_BLOCK, round(height * scale))
    resized: NDArray[np.float32] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(
        np.float32
    )
    return resized


def alignment_agreement(
    one: NDArray[np.uint8],
    other: NDArray[np.uint8],
    guess: NDArray[np.float64],
    parameters: DuplicateParameters,
) -> float:
    """Score two pictures, aligned from a guess by ECC at growing resolution.

    ECC: G. D. Evangelidis and E. Z. Psarakis, "Parametric Image Alignment Using Enhanced
    Correlation Coefficient Maximization", 2008. It works on outlines, so that a loud watermark
    counts no more than any other place of its size.
    """
    import cv2

    overlay = guess
    if not 1 / _OUT_OF_TUNE < _stretch(_in_pixels(overlay, one, other)) < _OUT_OF_TUNE:
        return 0.0
    for side, blur in _COARSE_TO_FINE:
        fixed, moving = _resized(one, side), _resized(other, side)
        start = _in_pixels(overlay, fixed, moving).astype(np.float32)
        stop = cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4
        everywhere = np.full(moving.shape, 255, dtype=np.uint8)
        try:
            correlation, warp = cv2.findTransformECC(
                _outlines(fixed),
                _outlines(moving),
                start,
                cv2.MOTION_AFFINE,
                stop,
                everywhere,
                blur,
            )
        except cv2.error:  # raised where the two have nothing in common
            return 0.0
        if correlation < parameters.min_convergence:
            return 0.0
        found = np.asarray(warp)
        overlay = _in_fractions(found, fixed, moving)
    (across, lean), (tilt, down) = found[:, :2].tolist()
    if (
        abs(lean / down) > parameters.max_shear
        or abs(tilt / across) > parameters.max_shear
        or abs(np.log(_stretch(found))) > parameters.max_stretch
    ):
        return 0.0
    return _block_agreement(fixed, moving, found, parameters)


def _block_agreement(
    fixed: NDArray[np.float32],
    moving: NDArray[np.float32],
    overlay: NDArray[Any],
    parameters: DuplicateParameters,
) -> float:
    """Correlation of blocks, at a low quantile of those that a watermark cannot explain."""
    import cv2

    size, flags = fixed.shape[::-1], cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    covered = (
        _blocks(cv2.warpAffine(np.ones_like(moving), overlay, size, flags=flags)).min(1) > 0.99
    )
    if covered.mean() < parameters.min_overlap:
        return 0.0
    smooth = [cv2.GaussianBlur(picture, (0, 0), 0.8) for picture in (fixed, moving)]
    laid = cv2.warpAffine(smooth[1], overlay, size, flags=flags)
    ours, theirs = _blocks(smooth[0])[covered], _blocks(laid)[covered]
    theirs = theirs * (ours.std() / max(float(theirs.std()), 1e-3))
    ours, theirs = (blocks - blocks.mean(axis=1, keepdims=True) for blocks in (ours, theirs))
    power, other_power = (ours**2).mean(axis=1), (theirs**2).mean(axis=1)
    textured = np.maximum(power, other_power) > _FEATURELESS**2
    if textured.sum() < parameters.min_textured_blocks:
        return 0.0
    common = (ours * theirs).mean(axis=1)
    correlation = np.sort((common / (np.sqrt(power * other_power) + _NOISE))[textured])
    forgiven = min(
        int(parameters.watermark_share * len(ours)), int(_WATERMARKED_TEXTURE * len(correlation))
    )
    rest = correlation[forgiven:]
    return max(0.0, float(rest[int(_JUDGED_AT * len(rest))]))


def _outlines(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """What is left when local brightness is taken off and local contrast made equal."""
    import cv2

    window = (max(picture.shape) // 4 | 1,) * 2
    detail = picture - cv2.blur(picture, window)
    spread = np.sqrt(np.maximum(cv2.blur(detail * detail, window), 0))
    return np.asarray(detail / (spread + _FEATURELESS), dtype=np.float32)


def _blocks(picture: NDArray[Any]) -> NDArray[np.float32]:
    rows, columns = (length // _BLOCK for length in picture.shape)
    tiles = picture[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    return tiles.swapaxes(1, 2).reshape(rows * columns, _BLOCK**2)


def _in_pixels(
    overlay: NDArray[Any], fixed: NDArray[np.generic], moving: NDArray[np.generic]
) -> NDArray[np.float64]:
    pixels: NDArray[np.float64] = _grid(moving) @ _square(overlay) @ np.linalg.inv(_grid(fixed))
    return pixels[:2]


def _in_fractions(
    overlay: NDArray[Any], fixed: NDArray[np.generic], moving: NDArray[np.generic]
) -> NDArray[np.float64]:
    fractions: NDArray[np.float64] = np.linalg.inv(_grid(moving)) @ _square(overlay) @ _grid(fixed)
    return fractions[:2]


def _square(overlay: NDArray[Any]) -> NDArray[np.float64]:
    return np.vstack([overlay, (0, 0, 1)])


def _grid(picture: NDArray[np.generic]) -> NDArray[np.float64]:
    """Fractions of a picture to its pixels, counted from the middle of the first."""
    height, width = picture.shape
    return np.array([(width, 0, -0.5), (0, height, -0.5), (0, 0, 1)])


def _stretch(overlay: NDArray[Any]) -> float:
    return float(abs(overlay[0, 0]) / max(float(overlay[1, 1]), 1e-9))
