"""Search for exact and near-duplicates.

Perceptual hashes give candidate pairs; their pixels decide. Two photos are near-duplicates if a shift and
a scale (and possibly mirroring) align them so that they agree block by block, except for the few blocks
that a watermark may cover. Brightness and contrast do not matter. A second shot of the same object is not a
duplicate: its alignment also needs a rotation or a shear, or its details differ.

Two photos are candidates if their most similar windows differ in few bits, and their three most similar
ones too. As the number of photos grows, more and more unrelated pairs meet the first condition alone. They
would displace real duplicates among the ``max_candidates`` most similar photos that each photo is compared
with.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from random import Random
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.compute.graph import connected_components
from fb_marketplace.compute.hamming import KEY_BITS, BitSample, Buckets, Pairs, similar_codes
from fb_marketplace.compute.shards import map_shards
from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.cleaning import DuplicateParameters
from fb_marketplace.pipelines.cleaning.image_alignment import alignment_agreement, content_region
from fb_marketplace.pipelines.cleaning.perceptual_hash import (
    BLANK,
    CROPS,
    FULL_WINDOW,
    HALVES,
    alignment,
    mirrored,
    perceptual_hash,
    window_distances,
)
from fb_marketplace.storage.keyed_table import Rows

FETCH_BATCH_SIZE: Final = 256
_PAIRS_PER_SHARD: Final = 1024  # their pictures take at most 32 MB
_MIN_PARALLEL_PAIRS: Final = 5000  # for fewer, starting processes costs more than it saves
_SAMPLES: Final = 48
_SAMPLED_BITS: Final = 40  # the lowest frequencies, which crops change least
_SIMILAR_WINDOWS: Final = 3
_DISTANCE_BATCH_SIZE: Final = 1 << 16
_MAX_ENTRIES: Final = 20_000_000

LoadJpegs: TypeAlias = Callable[[Sequence[int]], Sequence[bytes]]


class DuplicatePair(NamedTuple):
    """Two rows with the same picture; ``first < second``. The score of an exact pair is 1."""

    first: int
    second: int
    kind: Literal["exact", "near"]
    score: float


@dataclass(frozen=True)
class Comparisons:
    """The photos of a run, and the pairs that it compared.

    Attributes:
        digests: sha256 of each canonical photo, sorted.
        pairs: int64, (pairs, 2): positions of the photos in ``digests``, the smaller first; sorted.
        scores: float64, (pairs,).
    """

    digests: Sequence[str] = ()
    pairs: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))
    scores: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


def find_duplicate_pairs(
    sources: Sequence[str],
    results: Sequence[str],
    hashes: NDArray[np.uint64],
    load_jpegs: LoadJpegs,
    parameters: DuplicateParameters,
    earlier: Comparisons | None = None,
) -> tuple[list[DuplicatePair], Comparisons]:
    """Find pairs of duplicate photos.

    Rows with the same source file or canonical photo form a chain of exact pairs, smallest row first. Only
    the first row of a chain is compared with other pictures. Comparisons are ordered by digest, so the
    groups do not depend on the order of the photos.

    Args:
        sources: sha256 of each source file.
        results: sha256 of each canonical photo.
        hashes: uint64, (n, 8), from :func:`.perceptual_hash.perceptual_hash`.
        load_jpegs: loads the canonical photos of rows, at most ``FETCH_BATCH_SIZE`` at a time; picklable.
        parameters: thresholds.
        earlier: comparisons of an earlier run with the same parameters, to reuse.

    Returns:
        The exact pairs, then the near ones; and all comparisons.
    """
    chains = connected_components(
        len(results), np.concatenate([_links_to_first(digests) for digests in (sources, results)])
    )
    order = np.argsort(chains, kind="stable")
    linked = np.flatnonzero(np.diff(chains[order]) == 0)
    exact = [
        DuplicatePair(first, second, "exact", 1.0)
        for first, second in zip(order[linked].tolist(), order[linked + 1].tolist(), strict=True)
    ]
    heads = np.unique(chains).tolist()
    heads.sort(key=lambda row: results[row])
    comparisons = compare_photos(
        [results[row] for row in heads], heads, hashes[heads], load_jpegs, parameters, earlier
    )
    is_near = comparisons.scores >= parameters.min_agreement
    rows = np.sort(np.array(heads, dtype=np.int64)[comparisons.pairs[is_near]], axis=1)
    scores = comparisons.scores[is_near].tolist()
    near = [
        DuplicatePair(first, second, "near", score)
        for (first, second), score in zip(rows.tolist(), scores, strict=True)
    ]
    return exact + near, comparisons


def duplicate_groups(count: int, pairs: Iterable[DuplicatePair]) -> NDArray[np.int64]:
    """Group the rows that pairs connect.

    Args:
        count: number of rows.
        pairs: pairs of rows.

    Returns:
        int64, (count,): the smallest row of each row's group.
    """
    return connected_components(count, ((pair.first, pair.second) for pair in pairs))


def _links_to_first(digests: Sequence[str]) -> NDArray[np.int64]:
    """Return each row with the first row of the same digest: int64, (n, 2)."""
    first: dict[str, int] = {}
    links = [(row, first.setdefault(digest, row)) for row, digest in enumerate(digests)]
    return np.array(links, dtype=np.int64).reshape(-1, 2)


def compare_photos(
    digests: Sequence[str],
    rows: Sequence[int],
    hashes: NDArray[np.uint64],
    load_jpegs: LoadJpegs,
    parameters: DuplicateParameters,
    earlier: Comparisons | None = None,
) -> Comparisons:
    """Compare the candidate pairs among different photos.

    With the comparisons of an earlier run, only new photos are searched for candidates, and only new pairs
    are compared. The result is the same as without.

    Args:
        digests: sha256 of each canonical photo, sorted.
        rows: their rows, for ``load_jpegs``.
        hashes: uint64, (n, 8).
        load_jpegs: loads the canonical photos of rows.
        parameters: thresholds.
        earlier: comparisons of an earlier run with the same parameters.
    """
    known, scores, is_complete = _still_valid(earlier or Comparisons(), digests, parameters)
    pairs = candidate_pairs(hashes, parameters, known, is_complete)
    keys, known_keys = (table @ np.array([len(digests), 1]) for table in (pairs, known))
    is_known = np.isin(keys, known_keys)
    result = np.empty(len(pairs))
    result[is_known] = scores[np.searchsorted(known_keys, keys[is_known])]
    new, row_of = pairs[~is_known], np.array(rows, dtype=np.int64)
    score = partial(_score_shard, load_jpegs=load_jpegs, parameters=parameters)
    shards = _pair_shards(np.flatnonzero(~is_known), new, row_of, hashes)
    max_workers = 1 if len(new) < _MIN_PARALLEL_PAIRS else 0
    with Progress("photo pairs compared", len(pairs), len(pairs) - len(new)) as progress:
        for computed in map_shards(score, shards, max_workers=max_workers):
            result[computed["pair"].to_numpy()] = computed["score"].to_numpy()
            progress.advance(len(computed))
    return Comparisons(digests, pairs, result)


def score_pair(first: bytes, second: bytes, parameters: DuplicateParameters) -> float:
    """Return the score of two canonical photos, as :func:`find_duplicate_pairs` computes it.

    Returns:
        Score, 0 to 1, the same in either order; 0 also if the photos cannot be aligned.
    """
    one, two = sorted((first, second), key=lambda jpeg: sha256(jpeg).digest())
    guess = alignment(perceptual_hash(one), perceptual_hash(two))
    return alignment_agreement(content_region(one), content_region(two), guess, parameters)


def _pair_shards(
    numbers: NDArray[np.int64],
    pairs: NDArray[np.int64],
    rows: NDArray[np.int64],
    hashes: NDArray[np.uint64],
) -> Iterator[Rows]:
    """Yield shards of numbered pairs, with the rows and hashes of their photos."""
    import pyarrow as pa

    for start in range(0, len(pairs), _PAIRS_PER_SHARD):
        part = pairs[start : start + _PAIRS_PER_SHARD]
        codes = pa.array(hashes[part].ravel())
        yield pa.table(
            {
                "pair": numbers[start : start + _PAIRS_PER_SHARD],
                "first": rows[part[:, 0]],
                "second": rows[part[:, 1]],
                "hashes": pa.FixedSizeListArray.from_arrays(codes, 2 * hashes.shape[1]),
            }
        )


def _score_shard(shard: Rows, load_jpegs: LoadJpegs, parameters: DuplicateParameters) -> Rows:
    """Return ``pair`` and ``score`` of the pairs of a shard."""
    import pyarrow as pa

    pairs = np.stack([shard["first"].to_numpy(), shard["second"].to_numpy()], axis=1)
    hashes = shard["hashes"].combine_chunks().flatten().to_numpy().reshape(len(pairs), 2, -1)
    rows = np.unique(pairs).tolist()
    pictures: dict[int, NDArray[np.uint8]] = {}
    for start in range(0, len(rows), FETCH_BATCH_SIZE):
        fetched = rows[start : start + FETCH_BATCH_SIZE]
        pictures |= zip(fetched, map(content_region, load_jpegs(fetched)), strict=True)
    scores = [
        alignment_agreement(pictures[one], pictures[two], alignment(*codes), parameters)
        for (one, two), codes in zip(pairs.tolist(), hashes, strict=True)
    ]
    return pa.table({"pair": shard["pair"], "score": pa.array(scores, pa.float64())})


def _still_valid(
    earlier: Comparisons, digests: Sequence[str], parameters: DuplicateParameters
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return the earlier pairs of photos that still exist, their scores, and the complete photos.

    A photo is complete if all of its candidates among the earlier photos are in the pairs. It is not if it
    is new, or if one of ``max_candidates`` candidates no longer exists: another may take its place.

    Returns:
        int64, (pairs, 2), positions in ``digests``; float64, (pairs,); bool, (n,).
    """
    position = {digest: row for row, digest in enumerate(digests)}
    moved = np.array([position.get(digest, -1) for digest in earlier.digests], dtype=np.int64)
    is_valid = (moved[earlier.pairs] >= 0).all(axis=1)
    candidates, lost = (
        np.bincount(pairs.ravel(), minlength=len(moved))
        for pairs in (earlier.pairs, earlier.pairs[~is_valid])
    )
    is_complete = np.zeros(len(digests), dtype=bool)
    is_complete[moved[(moved >= 0) & ((lost == 0) | (candidates < parameters.max_candidates))]] = (
        True
    )
    return moved[earlier.pairs[is_valid]], earlier.scores[is_valid], is_complete


def candidate_pairs(
    hashes: NDArray[np.uint64],
    parameters: DuplicateParameters,
    known: NDArray[np.int64] | None = None,
    is_complete: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Return pairs of photos with similar hashes.

    Each photo is in a pair with its ``max_candidates`` most similar photos, and with each photo that has it
    among its own most similar ones. The similarity is the mean distance of the three most similar windows;
    of equally similar photos, the first ones count.

    The search compares the hashes that are equal in 16 bits, for several samples of 16 bits, and misses
    about 1 of 200 similar pairs.

    Args:
        hashes: uint64, (n, 8); ``BLANK`` windows are never compared.
        parameters: ``max_distance``, ``max_mean_distance`` and ``max_candidates``.
        known: int64, (pairs, 2): pairs of complete photos, from an earlier search.
        is_complete: bool, (n,): photos with all of their pairs with other such photos in ``known``.

    Returns:
        int64, (pairs, 2): pairs of rows, the smaller first, sorted.
    """
    nearest = _NearestPhotos(hashes, parameters)
    if known is not None:
        nearest.add(*known.T)
    is_new = np.ones(len(hashes), dtype=bool) if is_complete is None else ~is_complete
    for ones, others in _similar_windows(hashes, is_new, parameters.max_distance):
        nearest.add(ones, others)
    return nearest.pairs()


def _similar_windows(
    hashes: NDArray[np.uint64], is_new: NDArray[np.bool_], max_distance: int
) -> Iterator[Pairs]:
    """Yield pairs of rows, one of them new, with similar windows: int64, (pairs,) each. Some repeat."""
    new = np.flatnonzero(is_new)
    flipped, samples = mirrored(hashes), _bit_samples()
    for window, crops in ((FULL_WINDOW, CROPS), *((half, (half,)) for half in HALVES)):
        joins = [(new, np.arange(len(hashes)), crops)]
        if len(new) < len(hashes):
            joins.append((np.flatnonzero(~is_new), new, crops))
        for queried, searched, windows in joins:
            codes, code_rows = _codes(hashes, searched, windows)
            queries = [_codes(table, queried, (window,)) for table in (hashes, flipped)]
            for number, sample in enumerate(samples):
                buckets = Buckets(codes, sample)
                for query, query_rows in queries:
                    for ones, others in similar_codes(
                        Buckets(query, sample), buckets, max_distance
                    ):
                        # An earlier sample with equal keys has already yielded this pair.
                        changes = query[ones] ^ codes[others]
                        is_first = np.ones(len(changes), dtype=bool)
                        for earlier in samples[:number]:
                            is_first &= (changes & earlier.mask) != 0
                        yield query_rows[ones[is_first]], code_rows[others[is_first]]


def _codes(
    hashes: NDArray[np.uint64], rows: NDArray[np.int64], windows: Sequence[int]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the hashes of windows that are not blank, and their rows."""
    codes = hashes[rows][:, list(windows)].ravel()
    is_visible = codes != BLANK
    return codes[is_visible], np.repeat(rows, len(windows))[is_visible]


def _bit_samples() -> list[BitSample]:
    random = Random(0)
    # Only random() gives the same numbers in every version of Python.
    return [
        BitSample(sorted(range(_SAMPLED_BITS), key=lambda _: random.random())[:KEY_BITS])
        for _ in range(_SAMPLES)
    ]


class _NearestPhotos:
    """The most similar photos of each photo."""

    def __init__(self, hashes: NDArray[np.uint64], parameters: DuplicateParameters) -> None:
        self._hashes, self._parameters = hashes, parameters
        # Row, distance and other row in one number, for a fast sort.
        self._entries: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
        self._size = 0

    def add(self, ones: NDArray[np.int64], others: NDArray[np.int64]) -> None:
        """Add candidates.

        Args:
            ones: int64, (pairs,): rows.
            others: int64, (pairs,): rows that they are similar to.
        """
        limit = int(_SIMILAR_WINDOWS * self._parameters.max_mean_distance)
        for start in range(0, len(ones), _DISTANCE_BATCH_SIZE):
            one, other = (rows[start : start + _DISTANCE_BATCH_SIZE] for rows in (ones, others))
            windows = window_distances(self._hashes[one], self._hashes[other])
            smallest = np.partition(windows, _SIMILAR_WINDOWS - 1, axis=-1)[..., :_SIMILAR_WINDOWS]
            distance = smallest.sum(axis=-1, dtype=np.int64).min(axis=-1)
            near = (distance <= limit) & (one != other)
            for row, neighbor in ((one, other), (other, one)):
                self._entries.append(row[near] << 40 | distance[near] << 32 | neighbor[near])
            self._size += 2 * int(near.sum())
            if self._size > _MAX_ENTRIES:
                self._prune()

    def pairs(self) -> NDArray[np.int64]:
        """Return the pairs of rows, the smaller first, sorted: int64, (pairs, 2)."""
        entries = self._prune()
        rows = np.sort(np.stack([entries >> 40, entries & 0xFFFFFFFF], axis=1), axis=1)
        keys = _sort_unique(rows[:, 0] << 32 | rows[:, 1])
        return np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=1)

    def _prune(self) -> NDArray[np.int64]:
        """Remove duplicates and all but the ``max_candidates`` most similar photos of each photo."""
        entries = _sort_unique(np.concatenate(self._entries))
        starts = np.flatnonzero(np.diff(entries >> 40, prepend=-1))
        rank = np.arange(len(entries)) - np.repeat(starts, np.diff(starts, append=len(entries)))
        entries = entries[rank < self._parameters.max_candidates]
        self._entries, self._size = [entries], 0
        return entries


def _sort_unique(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sort nonnegative values without repeats; np.unique hashes them, which takes ten times as long."""
    values = np.sort(values)
    different: NDArray[np.int64] = values[np.diff(values, prepend=-1) != 0]
    return different
