"""Perceptual hash of a photo: eight 64-bit numbers that change little when it is re-encoded.

A bit is the sign of a low frequency of the discrete cosine transform, as in pHash (C. Zauner,
"Implementation and Benchmarking of Perceptual Image Hash Functions", 2010), with three changes:

- The 64 frequencies are those nearest to the origin, not a square of them. This is more robust to crops.
- A bit compares its frequency with 0, not with the median. So mirroring a picture only flips the bits of
  odd horizontal frequencies, and the mirror image needs no hash of its own (:func:`mirrored`).
- Eight windows are hashed: the full picture and three central crops, to match cropped copies, and four
  halves, because a watermark leaves at least one half intact.
"""

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fb_marketplace_serving.imaging.letterbox import content_box

VERSION: Final = 1
"""Increase it if the same photo would give other hashes."""

WINDOWS: Final[NDArray[np.float64]] = np.array(
    [
        (0.00, 0.00, 1.00, 1.00),
        (0.05, 0.05, 0.95, 0.95),
        (0.09, 0.09, 0.91, 0.91),
        (0.05, 0.00, 0.95, 1.00),
        (0.00, 0.00, 0.50, 1.00),
        (0.50, 0.00, 1.00, 1.00),
        (0.00, 0.00, 1.00, 0.50),
        (0.00, 0.50, 1.00, 1.00),
    ]
)
"""Left, top, right and bottom of each window, as fractions of the content box: (8, 4)."""

FULL_WINDOW: Final = 0
"""Index of the full picture in ``WINDOWS``."""

HALVES: Final = (4, 5, 6, 7)
"""Indices of the halves in ``WINDOWS``."""

MIRRORED_WINDOW: Final[NDArray[np.intp]] = np.array([0, 1, 2, 3, 5, 4, 6, 7])
"""Index of each window after the picture is mirrored left to right."""

BLANK: Final = np.uint64(0)
"""Hash of a window without contrast. Never compare it."""

CROPS: Final = (0, 1, 2, 3)
"""Indices of the full picture and its central crops in ``WINDOWS``."""

_WINDOW_PAIRS: Final = np.array(
    [(FULL_WINDOW, crop) for crop in CROPS]
    + [(crop, FULL_WINDOW) for crop in CROPS[1:]]
    + [(half, half) for half in HALVES]
)
"""Pairs of windows to compare: one photo with a crop of the other, and equal halves."""

_UNRELATED: Final = 32
"""Expected distance of unrelated windows."""

_GRID: Final = 64
_MIN_CONTRAST: Final = 2.0  # grey levels (RMS of the hashed frequencies); JPEG noise is below 1


def perceptual_hash(jpeg: bytes) -> NDArray[np.uint64]:
    """Compute the hashes of the eight windows of a photo.

    libjpeg decodes the grey channel at half scale. This keeps the hashed frequencies and takes a third of
    the time of a full decode.

    Args:
        jpeg: a canonical photo, 256 × 256.

    Returns:
        uint64, (8,), in the order of ``WINDOWS``; ``BLANK`` for a window without contrast. Similar windows
        differ in few of 64 bits; unrelated ones in 32 ± 4.
    """
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        image.draft("L", (image.width // 2, image.height // 2))
        grey = image.convert("L")
    # Crop before resizing: with Pillow's ``box`` the bars would bleed in.
    content = grey.crop(content_box(np.asarray(grey)))
    levels = np.asarray(content.resize((_GRID, _GRID), Image.Resampling.BILINEAR), dtype=np.float32)
    rows = (_VERTICAL.reshape(-1, _GRID) @ levels).reshape(len(WINDOWS), -1, _GRID)
    spectrum = (rows @ _HORIZONTAL.transpose(0, 2, 1))[:, _FREQUENCIES[:, 1], _FREQUENCIES[:, 0]]
    hashes = _pack_bits(spectrum > 0)
    hashes[(spectrum**2).sum(axis=1) < _MIN_CONTRAST**2] = BLANK
    return hashes


def mirrored(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hashes of the mirror image; a blank window stays blank.

    Args:
        hashes: uint64, (..., 8).

    Returns:
        uint64, (..., 8).
    """
    swapped = hashes[..., MIRRORED_WINDOW]
    return np.where(swapped == BLANK, BLANK, swapped ^ _ODD_HORIZONTAL)


def window_distances(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Compute the Hamming distances of the windows of two photos.

    Args:
        first: uint64, (..., 8), hashes of one photo.
        second: uint64, (..., 8), hashes of the other.

    Returns:
        uint8, (..., 2, 11): of the first photo as it is and mirrored, for each pair of windows that may
        show the same; 32, as of unrelated windows, if one is blank.
    """
    from_window, to_window = _WINDOW_PAIRS.T
    queries = np.stack([first, mirrored(first)], axis=-2)[..., from_window]
    targets = second[..., None, to_window]
    blank = (queries == BLANK) | (targets == BLANK)
    return np.where(blank, np.uint8(_UNRELATED), np.bitwise_count(queries ^ targets))


def alignment(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Estimate the alignment of two photos from their most similar pair of windows.

    Args:
        first: uint64, (8,), hashes of one photo.
        second: uint64, (8,), hashes of the other.

    Returns:
        float64, (2, 3): an affine map from fractions of the first photo's content box to those of
        the second's. Element [0, 0] is negative if one photo is mirrored.
    """
    from_window, to_window = _WINDOW_PAIRS.T
    distances = window_distances(first, second)
    flipped, pair = divmod(int(distances.argmin()), len(_WINDOW_PAIRS))
    window = from_window[pair]
    left, top, right, bottom = WINDOWS[MIRRORED_WINDOW[window] if flipped else window]
    to_left, to_top, to_right, to_bottom = WINDOWS[to_window[pair]]
    if flipped:
        to_left, to_right = to_right, to_left
    scale_x, scale_y = (to_right - to_left) / (right - left), (to_bottom - to_top) / (bottom - top)
    return np.array([[scale_x, 0, to_left - scale_x * left], [0, scale_y, to_top - scale_y * top]])


def _pack_bits(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    packed = np.ascontiguousarray(np.packbits(bits, axis=-1))
    hashes: NDArray[np.uint64] = packed.view("<u8")[..., 0].copy()
    return hashes


def _lowest_frequencies(count: int) -> NDArray[np.intp]:
    """Return the (horizontal, vertical) frequencies nearest to the origin, without it: (count, 2)."""
    side = range(int(2 * count**0.5))
    pairs = [(u, v) for u in side for v in side if u or v]
    return np.array(sorted(pairs, key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair))[:count])


def _cosines(start: float, stop: float, count: int) -> NDArray[np.float32]:
    """Compute the cosine basis of one window along one axis of the grid: (count, 64).

    A grid cell at the border of the window is weighted by its share inside. Each function except the
    constant one sums to zero, so that brightness never changes a bit.
    """
    edges = np.arange(_GRID + 1)
    low, high = (np.clip(edge, start * _GRID, stop * _GRID) for edge in (edges[:-1], edges[1:]))
    share = (high - low) / ((stop - start) * _GRID)
    centre = ((low + high) / 2 - start * _GRID) / ((stop - start) * _GRID)
    basis = np.cos(np.pi * np.outer(np.arange(count), centre)) * share
    basis[1:] -= np.outer(basis[1:].sum(axis=1), share)
    basis[1:] *= np.sqrt(2)
    return basis.astype(np.float32)


_FREQUENCIES: Final = _lowest_frequencies(64)
_HORIZONTAL: Final = np.stack(
    [_cosines(left, right, _FREQUENCIES.max() + 1) for left, _, right, _ in WINDOWS]
)
_VERTICAL: Final = np.stack(
    [_cosines(top, bottom, _FREQUENCIES.max() + 1) for _, top, _, bottom in WINDOWS]
)
_ODD_HORIZONTAL: Final = _pack_bits(_FREQUENCIES[:, 0] % 2 == 1)
