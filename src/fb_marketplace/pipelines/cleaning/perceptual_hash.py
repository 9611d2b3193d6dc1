"""What a photo looks like, in eight 64-bit numbers that a re-encoding hardly changes.

The signs of the lowest frequencies of a discrete cosine transform, after pHash (C. Zauner,
"Implementation and Benchmarking of Perceptual Image Hash Functions", 2010), with three changes.
The 64 frequencies are those nearest to the origin rather than a square of them, which bears a crop
better. The sign stands in for the comparison with the median, so that a mirror image only flips the
bits of odd horizontal frequencies (:func:`mirrored`) and needs no hash of its own. And eight
windows of the picture are hashed: the whole and three central crops, so that a cropped copy meets
its source, and four halves, of which a watermark spares at least one.
"""

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VERSION: Final = 1
"""Goes up when the same photo would give other hashes."""

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
"""Left, top, right, bottom of each hashed window, as fractions of the content box: (8, 4)."""

WHOLE: Final = 0
"""The window that is the whole picture."""

HALVES: Final = (4, 5, 6, 7)
"""The windows that a watermark elsewhere leaves alone."""

MIRRORED_WINDOW: Final[NDArray[np.intp]] = np.array([0, 1, 2, 3, 5, 4, 6, 7])
"""Where each window comes to lie when the picture is mirrored left to right."""

BLANK: Final = np.uint64(0)
"""Stands for a window with nothing to see; it must never be compared."""

_MEETINGS: Final = np.array(
    [(WHOLE, window) for window in range(8)]
    + [(window, WHOLE) for window in range(1, 8)]
    + [(half, half) for half in HALVES]
)
"""Pairs of windows by which one photo can be known in another: a crop, or a half left untouched."""

_GRID: Final = 64
_BLANK_CONTRAST: Final = (
    2.0  # grey levels (RMS of the hashed frequencies); JPEG noise stays below 1
)
_BAR_LEVEL: Final = 20  # grey levels; black at JPEG quality 35 rings up to here
_BAR_STRAYS: Final = (
    0.02  # brighter pixels that a line of a bar may hold, where it meets the picture
)
_SMALLEST_CONTENT: Final = 1 / 8


def perceptual_hash(jpeg: bytes) -> NDArray[np.uint64]:
    """Hash the eight windows of a photo.

    libjpeg decodes the grey channel at half scale, which is enough for the frequencies in question
    and a third of the time of a full decode.

    Args:
        jpeg: a canonical photo, 256 × 256.

    Returns:
        uint64, (8,), in the order of ``WINDOWS``; ``BLANK`` where a window shows nothing. The
        fewer of 64 bits differ, the more two windows look alike; chance gives 32 ± 4.
    """
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        image.draft("L", (image.width // 2, image.height // 2))
        grey = image.convert("L")
    # Cropped before it is resized: Pillow's ``box`` lets the bars outside bleed in.
    content = grey.crop(letterbox_content_box(np.asarray(grey)))
    levels = np.asarray(content.resize((_GRID, _GRID), Image.Resampling.BILINEAR), dtype=np.float32)
    rows = (_VERTICAL.reshape(-1, _GRID) @ levels).reshape(len(WINDOWS), -1, _GRID)
    spectrum = (rows @ _HORIZONTAL.transpose(0, 2, 1))[:, _FREQUENCIES[:, 1], _FREQUENCIES[:, 0]]
    hashes = _packed(spectrum > 0)
    hashes[(spectrum**2).sum(axis=1) < _BLANK_CONTRAST**2] = BLANK
    return hashes


def mirrored(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Give the hashes of the mirror images.

    A blank window stays blank.

    Args:
        hashes: uint64, (..., 8).

    Returns:
        uint64, (..., 8).
    """
    swapped = hashes[..., MIRRORED_WINDOW]
    return np.where(swapped == BLANK, BLANK, swapped ^ _ODD)


def alignment(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Guess how one photo lies over another, from the two windows that look most alike.

    Args:
        first: uint64, (8,), of one photo.
        second: uint64, (8,), of the other.

    Returns:
        float64, (2, 3): an affine map from fractions of the first photo's content box to those of
        the second's. Its top left number is negative if one photo is mirrored.
    """
    one, other = _MEETINGS.T
    seen = np.concatenate([first[one], mirrored(first)[one]])
    met = np.concatenate([second[other], second[other]])
    distance = np.where((seen == BLANK) | (met == BLANK), 64, np.bitwise_count(seen ^ met))
    flipped, meeting = divmod(int(distance.argmin()), len(_MEETINGS))
    window = one[meeting]
    left, top, right, bottom = WINDOWS[MIRRORED_WINDOW[window] if flipped else window]
    to_left, to_top, to_right, to_bottom = WINDOWS[other[meeting]]
    if flipped:
        to_left, to_right = to_right, to_left
    across, down = (to_right - to_left) / (right - left), (to_bottom - to_top) / (bottom - top)
    return np.array([[across, 0, to_left - across * left], [0, down, to_top - down * top]])


def letterbox_content_box(grey: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Find the picture inside black bars.

    Bars are taken to be as wide on one side as on the other, as letterboxing makes them: so a dark
    edge of the picture itself is not cut off with them. A picture that would all but vanish is
    left whole.

    Args:
        grey: uint8, (height, width); any size.

    Returns:
        Left, top, right, bottom, in pixels, as Pillow counts them.
    """
    lit = grey > _BAR_LEVEL
    top, bottom = _inside_bars(lit.mean(axis=1))
    left, right = _inside_bars(lit[top:bottom].mean(axis=0))
    return left, top, right, bottom


def _inside_bars(lit: NDArray[np.float64]) -> tuple[int, int]:
    size = len(lit)
    lines = np.flatnonzero(lit > _BAR_STRAYS)
    if not len(lines):
        return 0, size
    bar = int(min(lines[0], size - 1 - lines[-1]))
    return (bar, size - bar) if size - 2 * bar >= size * _SMALLEST_CONTENT else (0, size)


def _packed(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    packed: NDArray[np.uint64] = np.ascontiguousarray(np.packbits(bits, axis=-1)).view("<u8")[
        ..., 0
    ]
    return packed.copy()


def _lowest_frequencies(count: int) -> NDArray[np.intp]:
    """(horizontal, vertical) frequencies nearest to the origin, which itself is left out."""
    side = range(int(2 * count**0.5))
    pairs = [(u, v) for u in side for v in side if u or v]
    return np.array(sorted(pairs, key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair))[:count])


def _cosines(start: float, stop: float, count: int) -> NDArray[np.float32]:
    """The cosine basis of one window along one axis of the grid: (count, 64).

    A grid cell that the window cuts counts by its share. Each function but the constant is made to
    sum to zero, so that brightness cannot move a bit.
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
_ODD: Final = _packed(_FREQUENCIES[:, 0] % 2 == 1)
