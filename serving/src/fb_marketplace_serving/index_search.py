"""The nearest rows to a query, among all or among those that a filter keeps.

Candidates may come from any kind of index; their distances are always computed here, from the exact vectors
and in one way, and of equals the lower row leads. So whichever kind finds a row says the same of it.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fb_marketplace_serving.index_kinds import Rows, Vectors

EXACT_SHARE: Final = 0.25
"""A filter that keeps no more of the rows than this is answered by comparing all that it keeps."""

FILTER_WIDENS: Final = 8
"""How many times further the search looks under a filter that keeps more: the kept rows may lie on the
far side of what is near (``benchmarks/search.py`` filters by a plane through the vectors)."""

_USUAL: Final = 11
"""Rows asked for at the least: the settings were chosen for ten, and one more shows a tie."""

_QUERIES_AT_ONCE: Final = 16
"""From 20 on, FAISS takes distances from a product of matrices, with other roundings than one by one."""

_ROWS_AT_ONCE: Final = 16_384
"""Bounds the memory where everything is asked for."""

_TIE: Final = 1e-6
"""Squared distances that differ by less, relative to the larger of them and 1, may be equal but for
rounding."""

Distances = NDArray[np.float32]


@contextmanager
def one_thread() -> Iterator[None]:
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


def kept_rows(keep: ArrayLike, count: int) -> Rows | None:
    """Read a filter: the rows that it keeps, in order, or nothing where it keeps all.

    Args:
        keep: bool, (count,); or integers, the rows themselves in any order.
        count: how many rows there are.

    Raises:
        ValueError: it is neither, or names a row that is not there.
    """
    told = np.asarray(keep)
    if told.dtype == np.bool_ and told.shape == (count,):
        rows = np.flatnonzero(told).astype(np.int64, copy=False)
    elif told.ndim == 1 and (np.issubdtype(told.dtype, np.integer) or told.size == 0):
        rows = np.unique(told).astype(np.int64)
    else:
        raise ValueError(
            f"found a filter of {told.dtype}, shape {told.shape}; expected bool of shape ({count},), "
            "or rows as integers"
        )
    if len(rows) and not 0 <= rows[0] <= rows[-1] < count:
        raise ValueError(
            f"found a filter with rows {rows[0]:,} to {rows[-1]:,}; expected 0 to {count - 1:,}"
        )
    return None if len(rows) == count else rows


def nearest(
    vectors: Vectors, queries: NDArray[np.float32], k: int, kept: Rows | None = None
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
    with one_thread():
        found = [
            _untied(vectors, ask, queries[start : start + _QUERIES_AT_ONCE], k, available)
            for start in range(0, len(queries), _QUERIES_AT_ONCE)
        ]
    if len(found) == 1:
        return found[0]
    return np.concatenate([rows for rows, _ in found]), np.concatenate([far for _, far in found])


Ask = Callable[[NDArray[np.float32], int], Rows]


def _way(vectors: Vectors, kept: Rows | None) -> Ask:
    """Choose how rows are found: by comparing all that are kept, or by the index."""
    exactly = partial(vectors.nearest, kept=kept)
    if vectors.kind == "flat" or (kept is not None and len(kept) <= EXACT_SHARE * len(vectors)):
        return exactly
    bits, widened = None, 1
    if kept is not None:
        mask = np.zeros(len(vectors), np.bool_)
        mask[kept] = True
        bits, widened = np.packbits(mask, bitorder="little"), FILTER_WIDENS

    def ask(queries: NDArray[np.float32], count: int) -> Rows:
        # An index is set for few rows: the more are wanted, the further it has to look.
        if 10 * count > len(vectors):
            return exactly(queries, count)
        further = widened * (1 + math.log10(count / _USUAL))
        rows = vectors.candidates(queries, count, further, bits)
        return rows if (rows >= 0).all() else exactly(queries, count)

    return ask


def _untied(
    vectors: Vectors, ask: Ask, queries: NDArray[np.float32], k: int, available: int
) -> tuple[Rows, Distances]:
    """Ask for more rows than k until the last is further than the k-th, so that no tie is cut."""
    reach = max(k + 1, _USUAL)
    while True:
        reach = min(reach, available)
        rows = ask(queries, reach)
        distances = exact_distances(vectors.matrix, queries, rows)
        order = np.lexsort((rows, distances), axis=-1)
        rows, distances = (np.take_along_axis(each, order, axis=1) for each in (rows, distances))
        last, kth = distances[:, -1], distances[:, k - 1]
        if reach == available or (last - kth > _TIE * np.maximum(1, last)).all():
            return rows[:, :k], distances[:, :k]
        reach *= 4


def exact_distances(
    matrix: NDArray[np.float32], queries: NDArray[np.float32], rows: Rows
) -> Distances:
    """Give squared L2 distances of queries to some rows each: float32, (queries, rows a query).

    Args:
        matrix: float32, (all rows, dimension).
        queries: float32, (queries, dimension).
        rows: int64, (queries, rows a query).
    """
    parts = []
    for start in range(0, rows.shape[1], _ROWS_AT_ONCE):
        apart = matrix[rows[:, start : start + _ROWS_AT_ONCE]]
        apart -= queries[:, np.newaxis]
        apart *= apart
        parts.append(apart.sum(axis=-1))
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
