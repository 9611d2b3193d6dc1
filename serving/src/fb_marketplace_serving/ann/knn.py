"""Exact ranking of the rows nearest to a query, among all rows or those that a filter passes.

Candidates may come from any source. Distances are always computed here, from the exact vectors and by the
same code, and ties go to the lower row. So all sources report the same distance for a row.
"""

import threading
from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fb_marketplace_serving.ann.candidate_source import MIN_REACH, CandidateSource, Rows
from fb_marketplace_serving.ann.faiss_index import FaissIndex, untyped_faiss

_TIE_FACTOR: Final = 4
"""If the first result ends in a tie, this many times as many rows are fetched."""

_SPARSE: Final = 8
"""If a filter passes less than one row in this many, sorting is faster than a mask of all rows."""

_DISTANCE_BATCH_SIZE: Final = 16_384
"""Rows that are compared exactly at a time, which bounds the memory if they are read from a table."""

_TIE_TOLERANCE: Final = 1e-6
"""Squared distances that differ by less, relative to the larger of them and 1, may be equal up to
rounding."""

_LIMITED: Final = threading.local()
"""Whether FAISS is limited to one thread in this thread."""

Distances = NDArray[np.float32]


@contextmanager
def limit_faiss_threads() -> Iterator[None]:
    """Limit FAISS to one OpenMP thread. On a busy machine, a query took 16 ms with one, 80 ms with several.

    OpenMP keeps this number per calling thread, so the outermost limit of a thread sets and restores it.
    """
    import faiss

    if getattr(_LIMITED, "is_limited", False):
        yield
        return
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    _LIMITED.is_limited = True
    try:
        yield
    finally:
        _LIMITED.is_limited = False
        faiss.omp_set_num_threads(before)


def filter_to_rows(filter: ArrayLike | Set[int], count: int) -> Rows | None:  # noqa: A002
    """Return the rows that a filter passes.

    Args:
        filter: bool, (count,); or integers, the rows in any order.
        count: number of rows of the index.

    Returns:
        int64, (passed rows,), sorted; None if the filter passes all rows.

    Raises:
        ValueError: the filter is neither a mask nor rows, or a row does not exist.
    """
    values = np.asarray(list(filter) if isinstance(filter, Set) else filter)
    if values.dtype == np.bool_ and values.shape == (count,):
        rows = np.flatnonzero(values).astype(np.int64, copy=False)
    elif values.shape == (0,) and values.dtype != np.bool_:  # NumPy reads an empty list as floats.
        rows = np.empty(0, np.int64)
    elif values.ndim == 1 and np.issubdtype(values.dtype, np.integer):
        if values.dtype.itemsize == 1 and values.shape == (count,):
            raise ValueError(
                f"found a filter of {values.dtype}, shape {values.shape}, which is ambiguous; expected "
                "a mask of type bool, or row numbers of type int64"
            )
        rows = _sorted_unique(values, count)
    else:
        raise ValueError(
            f"found a filter of {values.dtype}, shape {values.shape}; expected a mask of type bool "
            f"and shape ({count},), or integer row numbers"
        )
    return None if len(rows) == count else rows


def _sorted_unique(values: NDArray[np.integer], count: int) -> Rows:
    """Return the distinct rows, sorted. For many rows, a mask is faster than sorting."""
    first, last = int(values.min()), int(values.max())
    if not 0 <= first <= last < count:
        raise ValueError(
            f"found a filter with rows {first:,} to {last:,}; expected 0 to {count - 1:,}"
        )
    rows = values.astype(np.int64)
    if _SPARSE * len(rows) < count:
        rows.sort()  # np.unique takes ten times as long
        is_first = np.ones(len(rows), np.bool_)
        np.not_equal(rows[1:], rows[:-1], out=is_first[1:])
        return rows if is_first.all() else rows[is_first]
    mask = np.zeros(count, np.bool_)
    mask[rows] = True
    return np.flatnonzero(mask).astype(np.int64, copy=False)


def nearest_neighbors(
    source: CandidateSource, queries: NDArray[np.float32], k: int, allowed: Rows | None = None
) -> tuple[Rows, Distances]:
    """Return the k nearest rows of each query, or all allowed rows if they are fewer.

    Args:
        source: the vectors.
        queries: float32, (queries, dimension), C-contiguous.
        k: rows per query.
        allowed: the rows to search, from :func:`filter_to_rows`; None for all.

    Returns:
        int64 rows and float32 squared distances, both (queries, k), nearest first.
    """
    available = len(source) if allowed is None else len(allowed)
    k = min(k, available)
    if k == 0 or len(queries) == 0:
        return np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    with limit_faiss_threads():
        # One by one: for several queries FAISS uses a matrix product, which rounds differently.
        results = [
            _resolve_ties(source, queries[number : number + 1], k, allowed)
            for number in range(len(queries))
        ]
    if len(results) == 1:
        return results[0][0][np.newaxis], results[0][1][np.newaxis]
    return np.stack([rows for rows, _ in results]), np.stack([values for _, values in results])


def nearest_rows(
    source: CandidateSource, query: NDArray[np.float32], k: int, allowed: Rows | None = None
) -> Rows:
    """Return the rows of :func:`nearest_neighbors` for one query, in half the time.

    An index of FAISS already gives distances that are exact up to rounding. Only if some of them are about
    equal, they are computed again.

    Args:
        source: the vectors.
        query: float32, (1, dimension).
        k: number of rows.
        allowed: the rows to search, from :func:`filter_to_rows`; None for all.

    Returns:
        int64, (k,), or all allowed rows if they are fewer, nearest first.
    """
    available = len(source) if allowed is None else len(allowed)
    if isinstance(source, FaissIndex) and available:
        count = min(max(k + 1, MIN_REACH), available)
        with limit_faiss_threads():
            rows, distances = source.top_with_distances(query, count, allowed)
        gaps = distances[1:] - distances[:-1]  # np.diff takes ten times as long
        margin = _TIE_TOLERANCE * max(1.0, float(distances[-1]))
        if len(gaps) < k or gaps[k - 1] > margin:
            is_certain = bool((gaps[: k - 1] > margin).all())
            return rows[:k] if is_certain else _rank(source, query, rows[:k])[0]
    nearest: Rows = nearest_neighbors(source, query, k, allowed)[0][0]
    return nearest


def _resolve_ties(
    source: CandidateSource, query: NDArray[np.float32], k: int, allowed: Rows | None
) -> tuple[Rows, Distances]:
    """Return the k nearest rows. Fetches until the last row is farther than the k-th, so no tie is cut."""
    available = len(source) if allowed is None else len(allowed)
    reach = max(k + 1, MIN_REACH)
    for count in (reach, _TIE_FACTOR * reach):
        rows, distances = _rank(source, query, source.top(query, min(count, available), allowed))
        last = float(distances[-1])
        margin = _TIE_TOLERANCE * max(1.0, last)
        if count >= available or last - distances[k - 1] > margin:
            return rows[:k], distances[:k]
    # The k-th row may have thousands of copies: fetch all of them at once.
    tied = source.within(query, float(distances[k - 1]) + 2 * margin, allowed)
    if len(tied) < k:  # The source's distances and ours differ by more than expected from rounding.
        tied = source.top(query, available, allowed)
    rows, distances = _rank(source, query, tied)
    return rows[:k], distances[:k]


def _rank(
    source: CandidateSource, query: NDArray[np.float32], rows: Rows
) -> tuple[Rows, Distances]:
    """Return rows sorted by distance, then by row, and their distances."""
    distances = exact_distances(source, query, rows)
    order = np.lexsort((rows, distances))
    return rows[order], distances[order]


def exact_distances(source: CandidateSource, query: NDArray[np.float32], rows: Rows) -> Distances:
    """Compute the squared L2 distances from a query to some rows.

    Args:
        source: the vectors.
        query: float32, (1, dimension).
        rows: int64, (rows,).

    Returns:
        float32, (rows,).

    Raises:
        ValueError: the query has another dimension.
        IndexError: a row does not exist.
    """
    return _compare(untyped_faiss().fvec_L2sqr_by_idx, source, query, rows)


def inner_products(source: CandidateSource, query: NDArray[np.float32], rows: Rows) -> Distances:
    """Compute the inner products of a query and some rows; see :func:`exact_distances`."""
    return _compare(untyped_faiss().fvec_inner_products_by_idx, source, query, rows)


def _compare(
    function: Any, source: CandidateSource, query: NDArray[np.float32], rows: Rows
) -> Distances:
    """Compare a query and some rows with a function of FAISS, which reads the vectors in place.

    FAISS checks no bounds.
    """
    if query.size != source.dimension:
        raise ValueError(
            f"found a query of {query.size:,} numbers; expected the dimension of the vectors, "
            f"{source.dimension:,}"
        )
    if len(rows) and (rows.min() < 0 or rows.max() >= len(source)):
        raise IndexError(
            f"found rows {rows.min():,} to {rows.max():,}; expected 0 to {len(source) - 1:,}"
        )
    swig_ptr = untyped_faiss().swig_ptr
    query = np.ascontiguousarray(query, np.float32)
    values = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _DISTANCE_BATCH_SIZE):
        part = slice(start, start + _DISTANCE_BATCH_SIZE)
        matrix, places = source.locate(np.ascontiguousarray(rows[part], np.int64))
        with limit_faiss_threads():
            function(
                swig_ptr(values[part]),
                swig_ptr(query),
                swig_ptr(matrix),
                swig_ptr(places),
                query.size,
                1,
                len(places),
            )
    return values
