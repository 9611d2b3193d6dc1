"""Rival searches: usearch, and the graph that autofaiss would choose.

autofaiss does not install with NumPy 2, so its rule is reimplemented from github.com/criteo/autofaiss,
``autofaiss/external/optimize.py`` (``get_optimal_index_keys_v2``, ``get_optimal_hyperparameters``): HNSW15
from 1,000 vectors, HNSW32 from 10,000 if it fits into 16 GB, FAISS's default efConstruction, and the
largest efSearch from 16 to 2^14 at which 40 neighbors take less than 10 ms, by bisection.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray
from usearch.index import Index as USearch

from fb_marketplace.ann.recall_benchmark import (
    DEPTH,
    RecallBenchmark,
    RecallEstimate,
    estimate_recall,
)
from fb_marketplace_serving.ann.build import EF_SEARCHES

Matrix = NDArray[np.float32]
Search = Callable[[Matrix], NDArray[np.int64]]
"""Maps queries, (queries, dimension), to the rows of the ten nearest, (queries, 10)."""

AUTOFAISS_MS, AUTOFAISS_NEIGHBORS, AUTOFAISS_EF_RANGE = 10.0, 40, (16, 2**14)


class Method(NamedTuple):
    """A search method.

    Attributes:
        name: name in the table.
        settings: its settings.
        search: the search.
        build_seconds: build time.
        bytes_per_vector: size of its file.
    """

    name: str
    settings: str
    search: Search
    build_seconds: float
    bytes_per_vector: float


def search_recall(search: Search, matrix: Matrix, benchmark: RecallBenchmark) -> RecallEstimate:
    """Return the recall of a search; ties of the tenth count."""
    rows = search(benchmark.queries)
    differences = (matrix[rows[i]] - benchmark.queries[i] for i in range(len(rows)))
    distances = [np.einsum("ij,ij->i", difference, difference) for difference in differences]
    return estimate_recall(np.stack(distances), benchmark)


def usearch_methods(matrix: Matrix, benchmark: RecallBenchmark, recall: float) -> Iterator[Method]:
    """Yield usearch in fp32 with its default settings, and with those that reach the recall."""
    started = time.perf_counter()
    index = USearch(ndim=matrix.shape[1], metric="l2sq", dtype="f32")
    index.add(np.arange(len(matrix)), matrix, threads=1)
    seconds = time.perf_counter() - started
    size = index.serialized_length / len(matrix)

    def with_ef(ef: int) -> Search:
        def search(queries: Matrix) -> NDArray[np.int64]:
            index.expansion_search = ef
            result: Any = index.search(queries, DEPTH, threads=1)
            return result.keys.reshape(len(queries), DEPTH).astype(np.int64)

        return search

    default = index.expansion_search
    yield Method("usearch, default", f"ef {default}", with_ef(default), seconds, size)
    for ef in EF_SEARCHES:
        if search_recall(with_ef(ef), matrix, benchmark).lower_bound >= recall:
            yield Method("usearch", f"ef {ef}", with_ef(ef), seconds, size)
            return


def autofaiss_methods(
    matrix: Matrix, benchmark: RecallBenchmark, recall: float
) -> Iterator[Method]:
    """Yield autofaiss's graph with its settings, and with those that just reach the recall."""
    count = len(matrix)
    links = 15 if count < 10_000 else 32
    started = time.perf_counter()
    index = faiss.IndexHNSWFlat(matrix.shape[1], links)
    index.add(matrix)
    seconds = time.perf_counter() - started
    size = faiss.serialize_index(index).nbytes / count

    def with_ef(ef: int) -> Search:
        def search(queries: Matrix) -> NDArray[np.int64]:
            index.hnsw.efSearch = ef
            rows: NDArray[np.int64] = index.search(queries, DEPTH)[1]
            return rows

        return search

    ef = autofaiss_ef(index, matrix)
    name = f"autofaiss: HNSW{links}"
    yield Method(f"{name}, below 10 ms", f"ef {ef}", with_ef(ef), seconds, size)
    for ef in EF_SEARCHES:
        if search_recall(with_ef(ef), matrix, benchmark).lower_bound >= recall:
            yield Method(name, f"ef {ef}", with_ef(ef), seconds, size)
            return


def autofaiss_ef(index: Any, matrix: Matrix) -> int:
    """Return the largest efSearch at which a query takes less than 10 ms, by bisection."""
    low, high = AUTOFAISS_EF_RANGE
    while high - low > 1:
        middle = (low + high) // 2
        index.hnsw.efSearch = middle
        started = time.perf_counter()
        for query in matrix[:50]:
            index.search(query[np.newaxis], AUTOFAISS_NEIGHBORS)
        fits = (time.perf_counter() - started) / 50 * 1000 < AUTOFAISS_MS
        low, high = (middle, high) if fits else (low, middle)
    return low
