"""How much of what is nearest an index finds, and how long a query takes."""

import time
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.ann.faiss_index import FaissIndex
from fb_marketplace_serving.ann.knn import exact_distances, limit_faiss_threads, nearest_neighbors

DEPTH: Final = 10
ROUNDS: Final = 3
NUM_TIMED_QUERIES: Final = 100
"""Queries in a round."""

_FIRST: Final = 5
"""Queries that are asked before a round, so that caches are warm."""

_SLOW: Final = 10
"""An index whose first queries take so many times as long as those of the quickest is timed no further."""

MOVED: Final = 0.75
"""The part of the difference between two neighbours by which a row is moved to make a query."""

_AS_NEAR: Final = 1e-6
"""A row that is so little further than the tenth is as near but for rounding: a copy of it, say."""

Z_95_ONE_SIDED: Final = 1.645
"""Standard errors below a mean where its one-sided 95 % bound lies."""

Milliseconds = NDArray[np.float64]


class RecallBenchmark(NamedTuple):
    """Queries whose nearest rows are known.

    Attributes:
        queries: float32, (queries, dimension).
        radii: float32, (queries,), squared L2 distance of the tenth nearest row, or of the last where
            there are fewer.
    """

    queries: NDArray[np.float32]
    radii: NDArray[np.float32]


class RecallEstimate(NamedTuple):
    """The mean share of the ten nearest rows that are found, and a lower bound, at 95 %, of what it is."""

    mean: float
    at_least: float


def make_recall_queries(vectors: FaissIndex, count: int, seed: int) -> RecallBenchmark:
    """Make queries that are like the photos of an index, but moved away from them.

    Each is one of its rows, moved by a part of the difference between two of its ten nearest rows and put
    back to its length: along what photos vary in, and far enough that about as much is found of these
    queries as of photos that were left out (``benchmarks/search.py`` measures both). A row itself would be
    too easy: it finds its own cluster, and its own place in a graph. Only among copies is nothing moved.

    Args:
        vectors: the index, not empty; it is asked exactly.
        count: how many queries; where there are fewer rows, some are moved more than once.
        seed: of which rows, and which neighbours.
    """
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(len(vectors), count, replace=count > len(vectors)))
    rows = vectors.matrix[chosen]
    depth = min(DEPTH, len(vectors))
    with limit_faiss_threads():
        around = vectors.nearest(rows, depth)
    one = random.integers(depth, size=len(rows))
    other = (one + random.integers(1, max(2, depth), size=len(rows))) % depth
    ends = vectors.matrix[around[np.arange(len(rows)), np.stack([one, other])]]
    moved = rows + MOVED * (ends[0] - ends[1])
    lengths, wanted = (np.linalg.norm(each, axis=1, keepdims=True) for each in (moved, rows))
    queries = np.ascontiguousarray(moved * (wanted / np.maximum(lengths, 1e-12)), dtype=np.float32)
    return RecallBenchmark(queries, kth_distances(vectors, queries))


def kth_distances(vectors: FaissIndex, queries: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give how far the tenth nearest row of each query is, squared: float32, (queries,)."""
    with limit_faiss_threads():
        rows = vectors.nearest(queries, min(DEPTH, len(vectors)))
    far = [
        exact_distances(vectors.matrix, queries[place : place + 1], rows[place]).max()
        for place in range(len(queries))
    ]
    return np.array(far, dtype=np.float32)


def evaluate_recall(vectors: FaissIndex, exam: RecallBenchmark) -> RecallEstimate:
    """Ask an index, as it is served, and count the rows that are as near as the tenth nearest."""
    return recall_lower_bound_at(nearest_neighbors(vectors, exam.queries, DEPTH)[1], exam)


def recall_lower_bound_at(distances: NDArray[np.float32], exam: RecallBenchmark) -> RecallEstimate:
    """Count the found rows that are as near as the tenth nearest.

    Of queries that all find everything the standard error would be 0, however few they are. It is taken to
    be that of one query that finds nothing, at the least: no number of queries shows a recall of 1.

    Args:
        distances: float32, (queries, 10), squared L2, of what was found.
        exam: what was asked.
    """
    shares: NDArray[np.float64] = (distances <= exam.radii[:, np.newaxis] + _AS_NEAR).mean(axis=1)
    error = shares.std(ddof=1) / np.sqrt(len(shares)) if len(shares) > 1 else 1.0
    return RecallEstimate(
        float(shares.mean()), float(shares.mean() - Z_95_ONE_SIDED * max(error, 1 / len(shares)))
    )


def max_measurable_recall(queries: int) -> float:
    """Give the lower bound of the recall where so many queries find everything."""
    return 1 - Z_95_ONE_SIDED / queries


def measure_latency(
    indexes: Mapping[str, FaissIndex], queries: NDArray[np.float32]
) -> dict[str, Milliseconds]:
    """Time queries one by one, the indexes in turn: milliseconds by name, (rounds × queries,).

    Of an index that is so slow that it will not be chosen only the first few are timed: a scan of ten
    million vectors takes seconds.
    """
    asked = queries[:NUM_TIMED_QUERIES]
    times = {
        name: [_milliseconds(vectors, query) for query in asked[:_FIRST]]
        for name, vectors in indexes.items()
    }
    best = min(np.median(each) for each in times.values())
    quick = [name for name, each in times.items() if np.median(each) <= _SLOW * best]
    times |= {name: [] for name in quick}
    for _ in range(ROUNDS):
        for name in quick:
            # What the others left in the caches is not this one's doing.
            nearest_neighbors(indexes[name], asked[:_FIRST], DEPTH)
            times[name] += [_milliseconds(indexes[name], query) for query in asked]
    return {name: np.array(each) for name, each in times.items()}


def _milliseconds(vectors: FaissIndex, query: NDArray[np.float32]) -> float:
    started = time.perf_counter()
    nearest_neighbors(vectors, query[np.newaxis], DEPTH)
    return (time.perf_counter() - started) * 1000
