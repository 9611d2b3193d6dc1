"""The nearest rows to a query, among all or among those that a filter keeps.

Candidates may come from any kind of index; their distances are always computed here, from the exact vectors
and in one way, and of equals the lower row leads. So whichever kind finds a row says the same of it.
"""

import math
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fb_marketplace_serving.ann.faiss_index import FaissIndex, Rows

EXACT_SHARE: Final = 0.25
EXACT_ROWS: Final = 20_000
"""A filter that keeps no more than this share of the rows, or no more rows than this, is answered by
comparing all that it keeps. That takes up to a few times as long as asking the index, and buys exactness
where filters cost most: an index finds less the less of what is near is kept."""

_MUCH: Final = 10
"""Where one row in so many is wanted, or more, all are compared: an index would look at most of them."""

_SPARE: Final = 4
"""Where a filter keeps more, so many times as many rows are looked at as would do if it kept any. Where it
keeps too few of those, it is against what is near the query, and all that it keeps is compared."""

_USUAL: Final = 11
"""Rows asked for at the least: the settings were chosen for ten, and one more shows a tie."""

_WIDER: Final = 4
"""So many times as many rows are asked for where the first answer ends in a tie."""

_FEW: Final = 64
"""Of rows that are one in so many, or fewer, sorting them is quicker than a mask of all."""

_ROWS_AT_ONCE: Final = 16_384
"""Bounds the memory where everything is asked for."""

_TIE: Final = 1e-6
"""Squared distances that differ by less, relative to the larger of them and 1, may be equal but for
rounding."""

Distances = NDArray[np.float32]


@contextmanager
def limit_faiss_threads() -> Iterator[None]:
    """Let FAISS use one OpenMP thread: many make a query of 16 ms one of 80 on a busy machine.

    OpenMP keeps this number for each calling thread, so it is set, and put back, by each call.
    """
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def filter_to_rows(keep: ArrayLike | Set[int], count: int) -> Rows | None:
    """Read a filter: the rows that it keeps, in order, or nothing where it keeps all.

    Args:
        keep: bool, (count,); or integers, the rows themselves in any order.
        count: how many rows there are.

    Raises:
        ValueError: it is neither, or names a row that is not there.
    """
    told = np.asarray(list(keep) if isinstance(keep, Set) else keep)
    if told.dtype == np.bool_ and told.shape == (count,):
        rows = np.flatnonzero(told).astype(np.int64, copy=False)
    elif told.shape == (0,) and told.dtype != np.bool_:  # An empty list is one of floats.
        rows = np.empty(0, np.int64)
    elif told.ndim == 1 and np.issubdtype(told.dtype, np.integer):
        if told.dtype.itemsize == 1 and told.shape == (count,):
            raise ValueError(
                f"found a filter of {told.dtype}, shape {told.shape}, which may be a mask or rows; "
                "expected a mask as bool, or rows as int64"
            )
        rows = _in_row_order(told, count)
    else:
        raise ValueError(
            f"found a filter of {told.dtype}, shape {told.shape}; expected bool of shape ({count},), "
            "or rows as integers"
        )
    return None if len(rows) == count else rows


def _in_row_order(told: NDArray[np.integer], count: int) -> Rows:
    """Give each row once, in order: by a mask, as sorting many takes three times as long."""
    first, last = int(told.min()), int(told.max())
    if not 0 <= first <= last < count:
        raise ValueError(
            f"found a filter with rows {first:,} to {last:,}; expected 0 to {count - 1:,}"
        )
    rows = told.astype(np.int64)
    if _FEW * len(rows) < count:
        return np.unique(rows)
    mask = np.zeros(count, np.bool_)
    mask[rows] = True
    return np.flatnonzero(mask).astype(np.int64, copy=False)


def nearest_neighbors(
    vectors: FaissIndex, queries: NDArray[np.float32], k: int, kept: Rows | None = None
) -> tuple[Rows, Distances]:
    """Find the k nearest rows of each query, or all that are kept where those are fewer.

    Args:
        vectors: the index.
        queries: float32, (queries, dimension), C-contiguous.
        k: how many.
        kept: the rows that come into question, as :func:`kept_rows` gives them.

    Returns:
        int64 rows and float32 squared distances, both (queries, k), nearest first.
    """
    available = len(vectors) if kept is None else len(kept)
    k = min(k, available)
    if k == 0 or len(queries) == 0:
        return np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    ask = _way(vectors, kept)
    with limit_faiss_threads():
        # One by one: FAISS takes the distances of many from a product of matrices, which rounds otherwise.
        found = [
            _untied(vectors, ask, queries[place : place + 1], k, kept)
            for place in range(len(queries))
        ]
    return np.stack([rows for rows, _ in found]), np.stack([distances for _, distances in found])


KnnQuery = Callable[[NDArray[np.float32], int], Rows]


def _way(vectors: FaissIndex, kept: Rows | None) -> KnnQuery:
    """Choose how rows are found: by comparing all that are kept, or by the index."""
    exactly = partial(vectors.nearest, kept=kept)
    few = max(EXACT_ROWS, EXACT_SHARE * len(vectors))
    if vectors.kind == "flat" or (kept is not None and len(kept) <= few):
        return exactly

    def ask(query: NDArray[np.float32], count: int) -> Rows:
        reach = count if kept is None else math.ceil(_SPARE * count * len(vectors) / len(kept))
        # An index is set for few rows: the more are wanted, the further it has to look.
        if _MUCH * reach > len(vectors):
            return exactly(query, count)
        rows = vectors.candidates(query, reach, 1 + math.log10(reach / _USUAL))
        rows = rows[:, _are_among(rows[0], kept)][:, :count]
        return rows if rows.shape[1] == count else exactly(query, count)

    return ask


def _are_among(rows: Rows, kept: Rows | None) -> NDArray[np.bool_]:
    """Say which are rows, not -1, and among those that are kept, in order."""
    if kept is None:
        return rows >= 0
    places = np.searchsorted(kept, rows)
    among: NDArray[np.bool_] = kept[np.minimum(places, len(kept) - 1)] == rows
    return among


def _untied(
    vectors: FaissIndex, ask: KnnQuery, query: NDArray[np.float32], k: int, kept: Rows | None
) -> tuple[Rows, Distances]:
    """Ask for more rows than k until the last is further than the k-th, so that no tie is cut."""
    available = len(vectors) if kept is None else len(kept)
    usual = max(k + 1, _USUAL)
    for reach in (usual, _WIDER * usual):
        rows, distances = _in_order(vectors, query, ask(query, min(reach, available))[0])
        last = float(distances[-1])
        margin = _TIE * max(1.0, last)
        if reach >= available or last - distances[k - 1] > margin:
            return rows[:k], distances[:k]
    # There may be thousands of copies: all of them at once, rather than more and more.
    tied = vectors.within(query, float(distances[k - 1]) + 2 * margin, kept)
    if len(tied) < k:  # FAISS's sums and ours were further apart than rounding should put them.
        tied = ask(query, available)[0]
    rows, distances = _in_order(vectors, query, tied)
    return rows[:k], distances[:k]


def _in_order(
    vectors: FaissIndex, query: NDArray[np.float32], rows: Rows
) -> tuple[Rows, Distances]:
    """Order rows by their distance, equals by row."""
    distances = exact_distances(vectors.matrix, query, rows)
    order = np.lexsort((rows, distances))
    return rows[order], distances[order]


def exact_distances(
    matrix: NDArray[np.float32], query: NDArray[np.float32], rows: Rows
) -> Distances:
    """Give the squared L2 distances of a query to some rows: float32, (rows,).

    Args:
        matrix: float32, (all rows, dimension).
        query: float32, (1, dimension).
        rows: int64, (rows,).
    """
    if len(rows) > _ROWS_AT_ONCE:
        starts = range(0, len(rows), _ROWS_AT_ONCE)
        parts = (rows[start : start + _ROWS_AT_ONCE] for start in starts)
        return np.concatenate([exact_distances(matrix, query, part) for part in parts])
    apart = matrix[rows]
    apart -= query
    apart *= apart
    distances: Distances = apart.sum(axis=1)
    return distances
