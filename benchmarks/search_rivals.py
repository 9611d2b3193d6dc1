"""Other ways to search: usearch, and the graph that autofaiss would choose.

autofaiss does not install beside NumPy 2, so its rule is followed here, as github.com/criteo/autofaiss has
it in ``autofaiss/external/optimize.py`` (``get_optimal_index_keys_v2``, ``get_optimal_hyperparameters``):
from 1,000 vectors on HNSW15, from 10,000 on HNSW32 where 16 GB hold it, efConstruction as FAISS has it, and
the largest efSearch from 16 to 2^14 with which 40 neighbours take less than 10 ms, found by bisection.
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
from fb_marketplace_serving.ann.knn import exact_distances

Matrix = NDArray[np.float32]
Ask = Callable[[Matrix], NDArray[np.int64]]
"""Rows of the ten nearest, (queries, 10), of queries, (queries, dimension)."""

AUTOFAISS_MS, AUTOFAISS_NEIGHBOURS, AUTOFAISS_REACHES = 10.0, 40, (16, 2**14)


class Way(NamedTuple):
    """A way to search.

    Attributes:
        name: what it is called in the table.
        settings: what it was set to.
        ask: what searches.
        build_seconds: that making it took.
        bytes_per_vector: that it takes written.
    """

    name: str
    settings: str
    ask: Ask
    build_seconds: float
    bytes_per_vector: float


def found(ask: Ask, matrix: Matrix, exam: RecallBenchmark) -> RecallEstimate:
    """Give the share of the ten nearest that a way finds; copies of the tenth count as it does."""
    rows = ask(exam.queries)
    distances = [
        exact_distances(matrix, exam.queries[place : place + 1], rows[place])
        for place in range(len(rows))
    ]
    return estimate_recall(np.stack(distances), exam)


def usearch_ways(matrix: Matrix, exam: RecallBenchmark, recall: float) -> Iterator[Way]:
    """Give usearch in fp32 as it comes, and looking as far as it must to find so much."""
    started = time.perf_counter()
    index = USearch(ndim=matrix.shape[1], metric="l2sq", dtype="f32")
    index.add(np.arange(len(matrix)), matrix, threads=1)
    seconds = time.perf_counter() - started
    size = index.serialized_length / len(matrix)

    def reaching(reach: int) -> Ask:
        def ask(queries: Matrix) -> NDArray[np.int64]:
            index.expansion_search = reach
            answer: Any = index.search(queries, DEPTH, threads=1)
            return answer.keys.reshape(len(queries), DEPTH).astype(np.int64)

        return ask

    as_it_comes = index.expansion_search
    yield Way("usearch, as it comes", f"ef {as_it_comes}", reaching(as_it_comes), seconds, size)
    for reach in EF_SEARCHES:
        if found(reaching(reach), matrix, exam).lower_bound >= recall:
            yield Way("usearch", f"ef {reach}", reaching(reach), seconds, size)
            return


def autofaiss_ways(matrix: Matrix, exam: RecallBenchmark, recall: float) -> Iterator[Way]:
    """Give autofaiss's graph as it would set it, and looking only as far as it must to find so much."""
    count = len(matrix)
    links = 15 if count < 10_000 else 32
    started = time.perf_counter()
    index = faiss.IndexHNSWFlat(matrix.shape[1], links)
    index.add(matrix)
    seconds = time.perf_counter() - started
    size = faiss.serialize_index(index).nbytes / count

    def reaching(reach: int) -> Ask:
        def ask(queries: Matrix) -> NDArray[np.int64]:
            index.hnsw.efSearch = reach
            rows: NDArray[np.int64] = index.search(queries, DEPTH)[1]
            return rows

        return ask

    reach = autofaiss_reach(index, matrix)
    name = f"autofaiss: HNSW{links}"
    yield Way(f"{name}, below 10 ms", f"ef {reach}", reaching(reach), seconds, size)
    for reach in EF_SEARCHES:
        if found(reaching(reach), matrix, exam).lower_bound >= recall:
            yield Way(name, f"ef {reach}", reaching(reach), seconds, size)
            return


def autofaiss_reach(index: Any, matrix: Matrix) -> int:
    """Bisect for the largest efSearch with which a query stays below 10 ms."""
    low, high = AUTOFAISS_REACHES
    while high - low > 1:
        middle = (low + high) // 2
        index.hnsw.efSearch = middle
        started = time.perf_counter()
        for query in matrix[:50]:
            index.search(query[np.newaxis], AUTOFAISS_NEIGHBOURS)
        fits = (time.perf_counter() - started) / 50 * 1000 < AUTOFAISS_MS
        low, high = (middle, high) if fits else (low, middle)
    return low
