"""Photos that are the same picture: equal bytes, or nearly equal to the eye.

Candidates come from perceptual hashes, verdicts from pixels. Two photos are near copies if one,
laid over the other by a shift and a scale (mirrored or not), agrees with it block by block,
whatever its brightness and contrast, in all but the few blocks that a watermark may spoil. A second
shot of the same thing needs a rotation or a shear as well, or shows other details, and is turned
away.
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
    HALVES,
    WHOLE,
    WINDOWS,
    alignment,
    mirrored,
    perceptual_hash,
)

FETCH_BATCH_SIZE: Final = 256
_PICTURE_CACHE_SIZE: Final = 4096  # at most 16 kB each
_SEARCH_BATCH_SIZE: Final = 16_384


class DuplicatePair(NamedTuple):
    """Two rows that hold the same picture; ``first < second``, and an exact pair scores 1."""

    first: int
    second: int
    kind: Literal["exact", "near"]
    score: float


def find_duplicate_pairs(
    sources: Sequence[str],
    results: Sequence[str],
    hashes: NDArray[np.uint64],
    jpegs_of: Callable[[Sequence[int]], Sequence[bytes]],
    parameters: DuplicateParameters,
) -> Iterator[DuplicatePair]:
    """Find the pairs of photos that are copies.

    Rows of equal source or result are linked in a chain, smallest row first, and only its head is
    compared with other pictures. All that depends on order goes by digest, so that the same photos
    give the same groups in whatever order they come.

    Candidates take one exhaustive Hamming search, exact and bounded in memory: on one core 4 seconds
    for 10^4 photos and 5 minutes for 10^5. Chance alone brings some 2 candidates a photo at 10^4 and
    ten times as many at 10^5, where ``max_candidates`` keeps the nearest. A verdict takes about 1 ms.

    Args:
        sources: sha256 of each source file.
        results: sha256 of each canonical photo.
        hashes: uint64, (n, 8), of :func:`.perceptual_hash.perceptual_hash`.
        jpegs_of: fetches the canonical photos of row numbers, at most ``FETCH_BATCH_SIZE`` a time.
        parameters: thresholds.

    Yields:
        The exact pairs, then the near ones.
    """
    heads = []
    for rows in _same_digest(sources, results):
        heads.append(rows[0])
        for first, second in pairwise(rows):
            yield DuplicatePair(first, second, "exact", 1.0)
    heads.sort(key=lambda row: results[row])
    by_digest = np.array(heads, dtype=np.int64)
    distinct = hashes[by_digest]
    pictures = _Pictures(lambda places: jpegs_of([heads[place] for place in places]))
    for one, other in pictures.alongside(candidate_pairs(distinct, parameters)):
        score = alignment_agreement(
            pictures[one], pictures[other], alignment(distinct[one], distinct[other]), parameters
        )
        if score >= parameters.min_agreement:
            first, second = sorted((heads[one], heads[other]))
            yield DuplicatePair(first, second, "near", score)


def judge_pair(first: bytes, second: bytes, parameters: DuplicateParameters) -> float:
    """Score how far two canonical photos are the same picture, as :func:`copies` does.

    Returns:
        Between 0, which also stands for "cannot be told", and 1; the same with the two exchanged.
    """
    one, other = sorted((first, second), key=lambda jpeg: sha256(jpeg).digest())
    guess = alignment(perceptual_hash(one), perceptual_hash(other))
    return alignment_agreement(content_region(one), content_region(other), guess, parameters)


def duplicate_groups(count: int, pairs: Iterable[DuplicatePair]) -> NDArray[np.int64]:
    """Join the rows that pairs connect, directly or by way of others.

    Args:
        count: number of rows.
        pairs: of rows below ``count``.

    Returns:
        int64, (count,): the smallest row of the group that each row is in.
    """
    return connected_components(count, ((pair.first, pair.second) for pair in pairs))


def _same_digest(sources: Sequence[str], results: Sequence[str]) -> list[list[int]]:
    links = [
        DuplicatePair(first, row, "exact", 1.0)
        for digests in (sources, results)
        for row, first in enumerate(_first_seen(digests))
    ]
    members: dict[int, list[int]] = {}
    for row, label in enumerate(duplicate_groups(len(results), links).tolist()):
        members.setdefault(label, []).append(row)
    return list(members.values())


def _first_seen(digests: Sequence[str]) -> list[int]:
    seen: dict[str, int] = {}
    return [seen.setdefault(digest, row) for row, digest in enumerate(digests)]


def candidate_pairs(
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
    for start in range(0, len(asked), _SEARCH_BATCH_SIZE):
        rows = asked[start : start + _SEARCH_BATCH_SIZE]
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
        batch = FETCH_BATCH_SIZE // 2
        for start in range(0, len(pairs), batch):
            coming = pairs[start : start + batch]
            self._fetch({place for pair in coming for place in pair})
            yield from coming

    def _fetch(self, places: set[int]) -> None:
        missing = sorted(places - self.keys())
        for place in places & self.keys():
            self[place] = self.pop(place)  # to the end: what was used last is dropped last
        for place, jpeg in zip(missing, self._jpegs_of(missing) if missing else (), strict=True):
            self[place] = content_region(jpeg)
        for place in list(self)[: max(0, len(self) - _PICTURE_CACHE_SIZE)]:
            del self[place]
