"""Search for exact and near-duplicates.

Perceptual hashes give candidate pairs; their pixels decide. Two photos are near-duplicates if a shift and
a scale (and possibly mirroring) align them so that they agree block by block, except for the few blocks
that a watermark may cover. Brightness and contrast do not matter. A second shot of the same object is not a
duplicate: its alignment also needs a rotation or a shear, or its details differ.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.compute.graph import connected_components
from fb_marketplace.parameters.cleaning import DuplicateParameters
from fb_marketplace.pipelines.cleaning.image_alignment import alignment_agreement, content_region
from fb_marketplace.pipelines.cleaning.perceptual_hash import (
    BLANK,
    FULL_WINDOW,
    HALVES,
    WINDOWS,
    alignment,
    mirrored,
    perceptual_hash,
)

FETCH_BATCH_SIZE: Final = 256
_CACHE_SIZE: Final = 4096  # pictures, at most 16 kB each
_SEARCH_BATCH_SIZE: Final = 16_384


class DuplicatePair(NamedTuple):
    """Two rows with the same picture; ``first < second``. The score of an exact pair is 1."""

    first: int
    second: int
    kind: Literal["exact", "near"]
    score: float


def find_duplicate_pairs(
    sources: Sequence[str],
    results: Sequence[str],
    hashes: NDArray[np.uint64],
    load_jpegs: Callable[[Sequence[int]], Sequence[bytes]],
    parameters: DuplicateParameters,
) -> Iterator[DuplicatePair]:
    """Find pairs of duplicate photos.

    Rows with the same source file or canonical photo form a chain of exact pairs, smallest row first. Only
    the first row of a chain is compared with other pictures. Comparisons are ordered by digest, so the
    groups do not depend on the order of the photos.

    The candidate search is exhaustive and bounded in memory. On one core it takes 4 seconds for 10^4
    photos and 5 minutes for 10^5. Unrelated photos add about 2 candidates per photo at 10^4 photos and
    20 at 10^5; only the nearest ``max_candidates`` are compared. A comparison takes about 1 ms.

    Args:
        sources: sha256 of each source file.
        results: sha256 of each canonical photo.
        hashes: uint64, (n, 8), from :func:`.perceptual_hash.perceptual_hash`.
        load_jpegs: loads the canonical photos of rows, at most ``FETCH_BATCH_SIZE`` at a time.
        parameters: thresholds.

    Yields:
        The exact pairs, then the near ones.
    """
    heads = []
    for rows in _rows_of_equal_digest(sources, results):
        heads.append(rows[0])
        for first, second in pairwise(rows):
            yield DuplicatePair(first, second, "exact", 1.0)
    heads.sort(key=lambda row: results[row])
    by_digest = np.array(heads, dtype=np.int64)
    distinct = hashes[by_digest]
    pictures = _PictureCache(lambda indices: load_jpegs([heads[index] for index in indices]))
    for one, two in pictures.prefetch(candidate_pairs(distinct, parameters)):
        score = alignment_agreement(
            pictures[one], pictures[two], alignment(distinct[one], distinct[two]), parameters
        )
        if score >= parameters.min_agreement:
            first, second = sorted((heads[one], heads[two]))
            yield DuplicatePair(first, second, "near", score)


def score_pair(first: bytes, second: bytes, parameters: DuplicateParameters) -> float:
    """Return the score of two canonical photos, as :func:`find_duplicate_pairs` computes it.

    Returns:
        Score, 0 to 1, the same in either order; 0 also if the photos cannot be aligned.
    """
    one, two = sorted((first, second), key=lambda jpeg: sha256(jpeg).digest())
    guess = alignment(perceptual_hash(one), perceptual_hash(two))
    return alignment_agreement(content_region(one), content_region(two), guess, parameters)


def duplicate_groups(count: int, pairs: Iterable[DuplicatePair]) -> NDArray[np.int64]:
    """Group the rows that pairs connect.

    Args:
        count: number of rows.
        pairs: pairs of rows.

    Returns:
        int64, (count,): the smallest row of each row's group.
    """
    return connected_components(count, ((pair.first, pair.second) for pair in pairs))


def _rows_of_equal_digest(sources: Sequence[str], results: Sequence[str]) -> list[list[int]]:
    links = [
        DuplicatePair(first, row, "exact", 1.0)
        for digests in (sources, results)
        for row, first in enumerate(_first_rows(digests))
    ]
    members: dict[int, list[int]] = {}
    for row, label in enumerate(duplicate_groups(len(results), links).tolist()):
        members.setdefault(label, []).append(row)
    return list(members.values())


def _first_rows(digests: Sequence[str]) -> list[int]:
    """Return, per row, the first row with the same digest."""
    first: dict[str, int] = {}
    return [first.setdefault(digest, row) for row, digest in enumerate(digests)]


def candidate_pairs(
    hashes: NDArray[np.uint64], parameters: DuplicateParameters
) -> list[tuple[int, int]]:
    """Return pairs of photos with similar hashes.

    Pairs are accepted in order of distance, then row. A pair is dropped if both of its photos already have
    ``max_candidates``, which bounds the number of pairs if many photos look alike.

    Args:
        hashes: uint64, (n, 8); ``BLANK`` windows are never compared.
        parameters: ``max_distance`` and ``max_candidates``.

    Returns:
        Pairs of rows, the smaller first, sorted.
    """
    distances: dict[tuple[int, int], int] = {}
    for queries in (hashes, mirrored(hashes)):
        for query_window, windows in (
            (FULL_WINDOW, range(len(WINDOWS))),
            *((half, (half,)) for half in HALVES),
        ):
            columns = np.ascontiguousarray(hashes[:, list(windows)])
            limit = parameters.max_candidates * min(2, len(windows)) + len(windows)
            for row, other, distance in _nearest(
                queries[:, query_window], columns, limit, parameters.max_distance
            ):
                if row != other:
                    pair = min(row, other), max(row, other)
                    distances[pair] = min(distance, distances.get(pair, distance))
    candidates = np.zeros(len(hashes), dtype=np.int64)
    chosen = []
    for pair, _ in sorted(distances.items(), key=lambda item: (item[1], item[0])):
        if candidates[list(pair)].min() < parameters.max_candidates:
            candidates[list(pair)] += 1
            chosen.append(pair)
    return sorted(chosen)


def _nearest(
    queries: NDArray[np.uint64], columns: NDArray[np.uint64], limit: int, max_distance: int
) -> Iterator[tuple[int, int, int]]:
    """Yield (query row, row of ``columns``, Hamming distance) for the nearest hashes of each query."""
    import faiss

    codes = columns.reshape(-1)
    positions, query_rows = np.flatnonzero(codes != BLANK), np.flatnonzero(queries != BLANK)
    if not len(positions):
        return
    index = faiss.IndexBinaryFlat(64)
    index.add(codes[positions, None].view(np.uint8))
    top_k = min(limit, len(positions))
    for start in range(0, len(query_rows), _SEARCH_BATCH_SIZE):
        rows = query_rows[start : start + _SEARCH_BATCH_SIZE]
        distances, neighbors = index.search(queries[rows, None].view(np.uint8), top_k)
        near = distances <= max_distance
        others = positions[neighbors[near]] // columns.shape[1]
        yield from zip(
            np.broadcast_to(rows[:, None], near.shape)[near].tolist(),
            others.tolist(),
            distances[near].tolist(),
            strict=True,
        )


class _PictureCache(dict[int, NDArray[np.uint8]]):
    """Least-recently-used cache of :func:`content_region` by photo index."""

    def __init__(self, load_jpegs: Callable[[list[int]], Sequence[bytes]]) -> None:
        super().__init__()
        self._load_jpegs = load_jpegs

    def prefetch(self, pairs: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Yield the pairs one by one, with both pictures in the cache."""
        size = FETCH_BATCH_SIZE // 2
        for start in range(0, len(pairs), size):
            batch = pairs[start : start + size]
            self._fetch({index for pair in batch for index in pair})
            yield from batch

    def _fetch(self, indices: set[int]) -> None:
        missing = sorted(indices - self.keys())
        for index in indices & self.keys():
            self[index] = self.pop(index)  # move to the end
        jpegs = self._load_jpegs(missing) if missing else ()
        for index, jpeg in zip(missing, jpegs, strict=True):
            self[index] = content_region(jpeg)
        for index in list(self)[: max(0, len(self) - _CACHE_SIZE)]:
            del self[index]
