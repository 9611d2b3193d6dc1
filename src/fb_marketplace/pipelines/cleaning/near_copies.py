"""Photos that are the same picture: equal bytes, or nearly equal to the eye.

Candidates come from perceptual hashes, verdicts from pixels. Two photos are near copies if one,
laid over the other by a shift and a scale (mirrored or not), agrees with it block by block,
whatever its brightness and contrast, in all but the few blocks that a watermark may spoil. A second
shot of the same thing needs a rotation or a shear as well, or shows other details, and is turned
away.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from fb_marketplace.pipelines.cleaning.perceptual_hash import (
    BLANK,
    HALVES,
    WHOLE,
    WINDOWS,
    alignment,
    content_box,
    mirrored,
    perceptual_hash,
)

VERSION: Final = 1
"""Goes up when the same photos would give other pairs."""

FETCHED_AT_ONCE: Final = 256
_KEPT_PICTURES: Final = 4096  # at most 16 kB each
_SEARCHED_AT_ONCE: Final = 16_384
_SIDE: Final = 128  # of a picture's long side, in pixels, where it is compared
_BLOCK: Final = 8
_COARSE_TO_FINE: Final = ((32, 3, 30), (64, 5, 15), (_SIDE, 5, 30))  # side, blur, iterations
_FEATURELESS: Final = 6.0  # grey levels: a block that varies less shows only noise
_NOISE: Final = 4.0  # grey levels squared, in the denominator of a correlation
_OUT_OF_TUNE: Final = 1.5  # ratio of horizontal to vertical scale that no crop explains
_WATERMARKED_TEXTURE: Final = (
    0.3  # of the blocks that show anything, at most this share is forgiven
)
_JUDGED_AT: Final = 0.1  # quantile of block correlation, once those are forgiven


class DuplicateParameters(BaseModel):
    """What makes two photos copies. The defaults are measured: see ``benchmarks/duplicates.py``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_distance: Annotated[int, Field(ge=0, le=20)] = 13
    """Bits of 64 by which two hashes of a candidate pair may differ. One more doubles the pairs."""

    max_candidates: Annotated[int, Field(ge=1)] = 32
    """Nearest candidates of one photo that are looked at: bounds the work where many look alike."""

    min_convergence: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Correlation of the aligned outlines below which a pair is dropped, at every resolution."""

    min_agreement: Annotated[float, Field(ge=0, le=1)] = 0.85
    """Score from which two photos are near copies: correlation of their worst blocks but a few."""

    watermark_share: Annotated[float, Field(ge=0, le=0.5)] = 0.12
    """Share of the blocks that may disagree; a mark on 8 % of the area touches about as many."""

    min_textured_blocks: Annotated[int, Field(ge=1)] = 12
    """Blocks of 8 × 8 pixels, of some 190, that must show something for a pair to be judged."""

    max_shear: Annotated[float, Field(ge=0)] = 0.015
    """Shear or rotation of the alignment, in radians, above which it is another shot."""

    max_stretch: Annotated[float, Field(ge=0)] = 0.035
    """Share by which the horizontal scale may differ from the vertical; rounding to pixels does."""

    min_overlap: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of a picture that the other must cover; a crop of a tenth all round covers 0.64."""


class Pair(NamedTuple):
    """Two rows that hold the same picture; ``first < second``, and an exact pair scores 1."""

    first: int
    second: int
    kind: Literal["exact", "near"]
    score: float


def copies(
    sources: Sequence[str],
    results: Sequence[str],
    hashes: NDArray[np.uint64],
    jpegs_of: Callable[[Sequence[int]], Sequence[bytes]],
    parameters: DuplicateParameters,
) -> Iterator[Pair]:
    """Find the pairs of photos that are copies.

    Rows of equal source or result are linked in a chain, smallest row first, and only its head is
    compared with other pictures. All that depends on order goes by digest, so that the same photos
    give the same groups in whatever order they come.

    COST

    Args:
        sources: sha256 of each source file.
        results: sha256 of each canonical photo.
        hashes: uint64, (n, 8), of :func:`.perceptual_hash.perceptual_hash`.
        jpegs_of: fetches the canonical photos of row numbers, at most ``FETCHED_AT_ONCE`` a time.
        parameters: thresholds.

    Yields:
        The exact pairs, then the near ones.
    """
    heads = []
    for rows in _same_digest(sources, results):
        heads.append(rows[0])
        for first, second in pairwise(rows):
            yield Pair(first, second, "exact", 1.0)
    heads.sort(key=lambda row: results[row])
    by_digest = np.array(heads, dtype=np.int64)
    distinct = hashes[by_digest]
    pictures = _Pictures(lambda places: jpegs_of([heads[place] for place in places]))
    for one, other in pictures.alongside(candidates(distinct, parameters)):
        score = _agreement(
            pictures[one], pictures[other], alignment(distinct[one], distinct[other]), parameters
        )
        if score >= parameters.min_agreement:
            first, second = sorted((heads[one], heads[other]))
            yield Pair(first, second, "near", score)


def verdict(first: bytes, second: bytes, parameters: DuplicateParameters) -> float:
    """Score how far two canonical photos are the same picture, as :func:`copies` does.

    Returns:
        Between 0, which also stands for "cannot be told", and 1; the same with the two exchanged.
    """
    one, other = sorted((first, second), key=lambda jpeg: sha256(jpeg).digest())
    guess = alignment(perceptual_hash(one), perceptual_hash(other))
    return _agreement(_content(one), _content(other), guess, parameters)


def groups(count: int, pairs: Iterable[Pair]) -> NDArray[np.int64]:
    """Join the rows that pairs connect, directly or by way of others.

    Args:
        count: number of rows.
        pairs: of rows below ``count``.

    Returns:
        int64, (count,): the smallest row of the group that each row is in.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = np.array([(pair.first, pair.second) for pair in pairs], dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(edges), dtype=np.int8), edges.T), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, smallest = np.unique(labels, return_index=True)
    members: NDArray[np.int64] = smallest.astype(np.int64)[labels]
    return members


def _same_digest(sources: Sequence[str], results: Sequence[str]) -> list[list[int]]:
    links = [
        Pair(first, row, "exact", 1.0)
        for digests in (sources, results)
        for row, first in enumerate(_first_seen(digests))
    ]
    members: dict[int, list[int]] = {}
    for row, label in enumerate(groups(len(results), links).tolist()):
        members.setdefault(label, []).append(row)
    return list(members.values())


def _first_seen(digests: Sequence[str]) -> list[int]:
    seen: dict[str, int] = {}
    return [seen.setdefault(digest, row) for row, digest in enumerate(digests)]


def candidates(
    hashes: NDArray[np.uint64], parameters: DuplicateParameters
) -> list[tuple[int, int]]:
    """Pair the photos whose hashes are near.

    However many look alike, a photo draws at most ``max_candidates`` others: pairs are taken
    nearest first, in order of row among equals, and one is dropped where both of its photos have
    had theirs.

    Args:
        hashes: uint64, (n, 8); a window that is ``BLANK`` is never compared.
        parameters: ``max_distance`` and ``max_candidates``.

    Returns:
        Pairs of rows, the smaller first, in order.
    """
    distances: dict[tuple[int, int], int] = {}
    for queries in (hashes, mirrored(hashes)):
        for query_window, windows in (
            (WHOLE, range(len(WINDOWS))),
            *((half, (half,)) for half in HALVES),
        ):
            columns = np.ascontiguousarray(hashes[:, list(windows)])
            wanted = parameters.max_candidates * min(2, len(windows)) + len(windows)
            for row, other, distance in _near(
                queries[:, query_window], columns, wanted, parameters.max_distance
            ):
                if row != other:
                    pair = min(row, other), max(row, other)
                    distances[pair] = min(distance, distances.get(pair, distance))
    taken = np.zeros(len(hashes), dtype=np.int64)
    chosen = []
    for pair, _ in sorted(distances.items(), key=lambda item: (item[1], item[0])):
        if taken[list(pair)].min() < parameters.max_candidates:
            taken[list(pair)] += 1
            chosen.append(pair)
    return sorted(chosen)


def _near(
    queries: NDArray[np.uint64], columns: NDArray[np.uint64], wanted: int, max_distance: int
) -> Iterator[tuple[int, int, int]]:
    """Query row, row of ``columns`` and distance of the ``wanted`` nearest hashes of each query."""
    import faiss

    codes = columns.reshape(-1)
    shown, asked = np.flatnonzero(codes != BLANK), np.flatnonzero(queries != BLANK)
    if not len(shown):
        return
    index = faiss.IndexBinaryFlat(64)
    index.add(codes[shown, None].view(np.uint8))
    for start in range(0, len(asked), _SEARCHED_AT_ONCE):
        rows = asked[start : start + _SEARCHED_AT_ONCE]
        distances, found = index.search(queries[rows, None].view(np.uint8), min(wanted, len(shown)))
        near = distances <= max_distance
        others = shown[found[near]] // columns.shape[1]
        yield from zip(
            np.broadcast_to(rows[:, None], near.shape)[near].tolist(),
            others.tolist(),
            distances[near].tolist(),
            strict=True,
        )


class _Pictures(dict[int, NDArray[np.uint8]]):
    """The contents of the photos that pairs are about to need, and some of the last used."""

    def __init__(self, jpegs_of: Callable[[list[int]], Sequence[bytes]]) -> None:
        super().__init__()
        self._jpegs_of = jpegs_of

    def alongside(self, pairs: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Give the pairs back one by one, with both pictures at hand."""
        batch = FETCHED_AT_ONCE // 2
        for start in range(0, len(pairs), batch):
            coming = pairs[start : start + batch]
            self._fetch({place for pair in coming for place in pair})
            yield from coming

    def _fetch(self, places: set[int]) -> None:
        missing = sorted(places - self.keys())
        for place in places & self.keys():
            self[place] = self.pop(place)  # to the end: what was used last is dropped last
        for place, jpeg in zip(missing, self._jpegs_of(missing) if missing else (), strict=True):
            self[place] = _content(jpeg)
        for place in list(self)[: max(0, len(self) - _KEPT_PICTURES)]:
            del self[place]


def _content(jpeg: bytes) -> NDArray[np.uint8]:
    """Grey picture inside the bars, its long side ``_SIDE`` pixels."""
    # Pillow's decoder and not OpenCV's, whose grey may differ from one build to another.
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        image.draft("L", image.size)
        grey = np.asarray(image.convert("L"))
    left, top, right, bottom = content_box(grey)
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


def _agreement(
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
    for side, blur, iterations in _COARSE_TO_FINE:
        fixed, moving = _resized(one, side), _resized(other, side)
        start = _in_pixels(overlay, fixed, moving).astype(np.float32)
        stop = cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, iterations, 1e-3
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
