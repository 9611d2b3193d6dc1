"""Recall of an index, and the latency of its queries."""

import time
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.ann.build import PART_ROWS, flat_index
from fb_marketplace_serving.ann.faiss_index import FaissIndex
from fb_marketplace_serving.ann.knn import exact_distances, limit_faiss_threads, nearest_neighbors

DEPTH: Final = 10
ROUNDS: Final = 3
NUM_TIMED_QUERIES: Final = 100
"""Number of queries per round."""

_WARMUP_QUERIES: Final = 5

_TOO_SLOW: Final = 10
"""An index is not timed further if its first queries take this many times as long as the fastest one's."""

MIN_ROWS_PER_QUERY: Final = 10
"""Rows are held out as queries if there are at least this many rows for each. The others then resemble all
rows."""

SHIFT: Final = 0.75
"""A query is a row moved by this fraction of the difference between two of its neighbors."""

_TIE_TOLERANCE: Final = 1e-6
"""Distances up to this much above the tenth nearest count as equal to it: copies, up to rounding."""

Z_95_ONE_SIDED: Final = 1.645
"""Number of standard errors between a mean and its one-sided 95 % bound."""

Milliseconds = NDArray[np.float64]


class RecallBenchmark(NamedTuple):
    """Queries with known nearest rows.

    Attributes:
        queries: float32, (queries, dimension).
        radii: float32, (queries,), squared L2 distance of the tenth nearest row, or of the farthest if
            there are fewer rows.
    """

    queries: NDArray[np.float32]
    radii: NDArray[np.float32]


class HeldOut(NamedTuple):
    """Rows of an index, and queries that are not among them.

    Attributes:
        vectors: flat index of the other rows; of all rows if there are too few to hold some out.
        benchmark: the queries.
    """

    vectors: FaissIndex
    benchmark: RecallBenchmark


class RecallEstimate(NamedTuple):
    """Recall@10: mean over the queries, and its lower bound at 95 %."""

    mean: float
    lower_bound: float


def hold_out_queries(vectors: FaissIndex, count: int, seed: int) -> HeldOut:
    """Leave random rows out of an index, as queries.

    If there are fewer than ``MIN_ROWS_PER_QUERY`` rows for each query, the queries are moved rows; see
    :func:`make_recall_queries`.

    Args:
        vectors: flat index, not empty.
        count: number of queries.
        seed: seed of the choice of rows.
    """
    if len(vectors) < MIN_ROWS_PER_QUERY * count:
        return HeldOut(vectors, make_recall_queries(vectors, count, seed))
    is_query = np.zeros(len(vectors), np.bool_)
    is_query[np.random.default_rng(seed).choice(len(vectors), count, replace=False)] = True
    parts = (slice(start, start + PART_ROWS) for start in range(0, len(vectors), PART_ROWS))
    others = FaissIndex(
        flat_index((vectors.matrix[part][~is_query[part]] for part in parts), len(vectors) - count)
    )
    queries = vectors.matrix[is_query]
    return HeldOut(others, RecallBenchmark(queries, kth_distances(others, queries)))


def make_recall_queries(vectors: FaissIndex, count: int, seed: int) -> RecallBenchmark:
    """Build queries that resemble the vectors of an index but are not among them.

    Each query is a row moved by a fraction of the difference between two of its ten nearest rows, then
    scaled back to its length. It moves in a direction in which photos vary. An unchanged row would be too
    easy: it finds its own cluster, or its own node in a graph. A row whose neighbors are copies of it does
    not move.

    Args:
        vectors: the index, not empty; it is searched exactly.
        count: number of queries; if there are fewer rows, some are used more than once.
        seed: seed of the choice of rows and neighbors.
    """
    random = np.random.default_rng(seed)
    sample = np.sort(random.choice(len(vectors), count, replace=count > len(vectors)))
    rows = vectors.matrix[sample]
    depth = min(DEPTH, len(vectors))
    with limit_faiss_threads():
        neighbors = vectors.nearest(rows, depth)
    one = random.integers(depth, size=len(rows))
    other = (one + random.integers(1, max(2, depth), size=len(rows))) % depth
    ends = vectors.matrix[neighbors[np.arange(len(rows)), np.stack([one, other])]]
    moved = rows + SHIFT * (ends[0] - ends[1])
    length, target = (np.linalg.norm(matrix, axis=1, keepdims=True) for matrix in (moved, rows))
    queries = np.ascontiguousarray(moved * (target / np.maximum(length, 1e-12)), dtype=np.float32)
    return RecallBenchmark(queries, kth_distances(vectors, queries))


def kth_distances(vectors: FaissIndex, queries: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the squared L2 distance of each query's tenth nearest row: float32, (queries,)."""
    with limit_faiss_threads():
        rows = vectors.nearest(queries, min(DEPTH, len(vectors)))
    radii = [
        exact_distances(vectors, queries[i : i + 1], rows[i]).max() for i in range(len(queries))
    ]
    return np.array(radii, dtype=np.float32)


def evaluate_recall(vectors: FaissIndex, benchmark: RecallBenchmark) -> RecallEstimate:
    """Return the recall of an index at its current settings."""
    return estimate_recall(nearest_neighbors(vectors, benchmark.queries, DEPTH)[1], benchmark)


def estimate_recall(distances: NDArray[np.float32], benchmark: RecallBenchmark) -> RecallEstimate:
    """Return the share of hits that are at least as near as the tenth nearest row.

    If all queries find everything, their standard error is 0, no matter how few they are. The standard
    error is therefore at least that of one query that finds nothing. So no number of queries can prove a
    recall of 1.

    Args:
        distances: float32, (queries, 10), squared L2 distances of the hits.
        benchmark: the queries.
    """
    shares: NDArray[np.float64] = (
        distances <= benchmark.radii[:, np.newaxis] + _TIE_TOLERANCE
    ).mean(axis=1)
    error = shares.std(ddof=1) / np.sqrt(len(shares)) if len(shares) > 1 else 1.0
    return RecallEstimate(
        float(shares.mean()), float(shares.mean() - Z_95_ONE_SIDED * max(error, 1 / len(shares)))
    )


def max_measurable_recall(queries: int) -> float:
    """Return the lower bound of the recall if this many queries all find everything."""
    return 1 - Z_95_ONE_SIDED / queries


def measure_latency(
    indexes: Mapping[str, FaissIndex], queries: NDArray[np.float32]
) -> dict[str, Milliseconds]:
    """Measure the time of single queries; the indexes take turns.

    An index that is too slow to be selected is timed on the first few queries only: a scan of ten million
    vectors takes seconds.

    Returns:
        Milliseconds by index name: float64, (rounds × queries,), or (warm-up queries,) if it is too slow.
    """
    timed = queries[:NUM_TIMED_QUERIES]
    times = {
        name: [_milliseconds(vectors, query) for query in timed[:_WARMUP_QUERIES]]
        for name, vectors in indexes.items()
    }
    best = min(np.median(values) for values in times.values())
    fast = [name for name, values in times.items() if np.median(values) <= _TOO_SLOW * best]
    times |= {name: [] for name in fast}
    for _ in range(ROUNDS):
        for name in fast:
            # The other indexes have evicted this one's data from the caches.
            nearest_neighbors(indexes[name], timed[:_WARMUP_QUERIES], DEPTH)
            times[name] += [_milliseconds(indexes[name], query) for query in timed]
    return {name: np.array(values) for name, values in times.items()}


def _milliseconds(vectors: FaissIndex, query: NDArray[np.float32]) -> float:
    started = time.perf_counter()
    nearest_neighbors(vectors, query[np.newaxis], DEPTH)
    return (time.perf_counter() - started) * 1000
