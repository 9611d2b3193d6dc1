"""Compare index kinds with exhaustive search, usearch and the index that autofaiss would choose.

Uses the vectors of the lake in FB_LAKE (``data`` by default), or random ones with ``--random``. 1,000 are
held out: half to select search settings, half to measure recall. The first table is for the rest; for
10,000, 100,000 and ``--largest``, vectors are added between real neighbors. Held-out photos resemble these
less than these resemble each other, so queries from rows, as in the pipeline, have a higher recall there.
The pipeline leaves rows out, or moves rows of a small index: compare ``moved rows`` with ``recall@10``.
Everything runs on one thread, the methods in turn, round by round. Speedups are ratios of medians within a
round, relative to FAISS's IndexFlatL2.

Then filters: a random 10 %, 1 % and 0.1 % of the rows; a random half, as a mask and as unordered row
numbers; and a half split by a plane, with queries on either side. The baseline is a full scan without a
filter.

Expected before measuring, at 100,000: ivf_rabitq 50x a scan of 10 to 16 ms at recall 0.995, built in 4 s;
ivf_sq8 30x; hnsw 50x, built in half a minute, and autofaiss's no faster at the same recall; usearch near
hnsw. A filter that keeps 10 % 6x a full scan, 1 % 80x, 0.1 % 200x, all with recall 1, as only the kept rows
are compared; one that keeps half 8x at 0.99. On real vectors, moved rows as hard as held-out photos, to
0.002. fp16 vectors next to the index would find as much as fp32 in half the bytes.
"""

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import yaml
from numpy.typing import NDArray
from search_rivals import Matrix, Method, Search, autofaiss_methods, search_recall, usearch_methods
from search_vectors import enlarge, random_vectors, read_vectors

from fb_marketplace.ann.index_selection import candidate_kinds, select_fastest, try_index_kind
from fb_marketplace.ann.recall_benchmark import (
    DEPTH,
    RecallBenchmark,
    evaluate_recall,
    kth_distances,
    make_recall_queries,
    measure_latency,
)
from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace_serving.ann.build import flat_index
from fb_marketplace_serving.ann.faiss_index import FaissIndex, Kind
from fb_marketplace_serving.ann.knn import filter_to_rows, nearest_neighbors

PARAMETERS = Path(__file__).parents[1] / "conf/base/parameters_indexing.yml"
ROUNDS = 5
NUM_QUERIES = 100  # in a round
SHARES = (0.1, 0.01, 0.001)


def main() -> None:
    """Print a table of methods and one of filters for each size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--largest", type=int, default=100_000, help="largest number of vectors")
    parser.add_argument("--random", action="store_true", help="use random vectors")
    parser.add_argument("--no-rivals", action="store_true", help="skip usearch and autofaiss")
    args = parser.parse_args()
    lake = os.environ.get("FB_LAKE", "data")
    real = random_vectors() if args.random else read_vectors(lake)
    if real is None:
        print(f"{lake} has no image_embeddings. Run `make run`, set FB_LAKE, or add --random.")
        return
    if len(real.selection) == 0:
        print(
            f"{lake} has only {len(real.searched)} vectors, too few to hold some out; add --random."
        )
        return
    faiss.omp_set_num_threads(1)
    parameters = IndexParameters.model_validate(yaml.safe_load(PARAMETERS.read_text())["indexing"])
    sizes = {size for size in (len(real.searched), 10_000, 100_000) if size < args.largest}
    for size in sorted(sizes | {args.largest}):
        added = max(0, size - len(real.searched))
        print(f"\n### {size:,} vectors, {added:,} of them added between real ones\n")
        matrix = enlarge(real.searched, size)
        compare(matrix, real.selection, real.test, parameters, not args.no_rivals)


def compare(
    matrix: Matrix,
    selection: Matrix,
    test: Matrix,
    parameters: IndexParameters,
    with_rivals: bool,
) -> None:
    """Print both tables.

    Args:
        matrix: float32, (rows, dimension), the searched vectors.
        selection: float32, (queries, dimension), for selecting settings.
        test: float32, (queries, dimension), for measuring.
        parameters: the required recall, and how it is measured.
        with_rivals: whether to include usearch and autofaiss's graph.
    """
    flat = FaissIndex(flat_index([matrix]))
    select_benchmark, test_benchmark = (
        RecallBenchmark(queries, kth_distances(flat, queries)) for queries in (selection, test)
    )
    trials = [
        try_index_kind(kind, flat, select_benchmark, parameters)
        for kind in all_kinds(len(flat), parameters)
    ]
    passing = [trial for trial in trials if trial.recall.lower_bound >= parameters.recall]
    times = measure_latency({trial.vectors.kind: trial.vectors for trial in passing}, selection)
    fastest = select_fastest(passing, times).vectors
    moved_rows = make_recall_queries(flat, parameters.queries, parameters.seed)
    methods, moved_recall = [scan(flat), scan_fp16(matrix)], {}
    for trial in trials:
        note = " (auto)" if trial.vectors is fastest else ""
        methods.append(served(trial.vectors, trial.seconds, note))
        moved_recall[methods[-1].name] = f"{evaluate_recall(trial.vectors, moved_rows).mean:.4f}"
    if with_rivals:
        for rivals in (usearch_methods, autofaiss_methods):
            methods += rivals(matrix, select_benchmark, parameters.recall)
    print(
        "| method | settings | build s | bytes/vector | p50 ms | p99 ms | recall@10 | moved rows | flat |"
    )
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|")
    latencies = timed([method.search for method in methods], test)
    for method, milliseconds in zip(methods, latencies, strict=True):
        recall = search_recall(method.search, matrix, test_benchmark).mean
        print(
            f"| {method.name} | {method.settings} | {method.build_seconds:.1f} | "
            f"{method.bytes_per_vector:,.0f} | {columns(milliseconds)} | {recall:.4f} | "
            f"{moved_recall.get(method.name, '')} | {ratio(latencies[0], milliseconds):.1f}x |",
            flush=True,
        )
    compare_filters(fastest, test)


def all_kinds(count: int, parameters: IndexParameters) -> list[Kind]:
    """Return every kind that auto would try on many vectors, and flat."""
    return candidate_kinds(
        count, parameters.model_copy(update={"kind": "auto", "flat_max_vectors": 0})
    )


def compare_filters(vectors: FaissIndex, test: Matrix) -> None:
    """Print latency and recall of filtered searches, compared with an unfiltered full scan."""
    random = np.random.default_rng(0)
    masks = {f"random {share:.1%}": random.random(len(vectors)) < share for share in SHARES}
    plane = random.normal(size=vectors.dimension).astype(np.float32)
    side = vectors.matrix @ plane
    upper = side > np.median(side)
    # Queries in the half that the filter keeps, and in the other one.
    above = test @ plane > np.median(side)
    half = random.random(len(vectors)) < 0.5
    cases: list[tuple[str, NDArray[np.bool_], NDArray[Any], Matrix]] = [
        (name, mask, mask, test) for name, mask in masks.items()
    ]
    cases += [
        ("random 50%", half, half, test),
        ("the same, as rows", half, random.permutation(np.flatnonzero(half)), test),
        ("half with the query", upper, upper, test[above]),
        ("half without the query", upper, upper, test[~above]),
    ]
    print(f"\n{vectors.kind} with a filter, compared with a full scan\n")
    print("| keeps | rows | p50 ms | p99 ms | recall@10 | full scan |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, mask, keep, queries in cases:
        if not mask.any() or len(queries) == 0:
            print(f"| {name} | {int(mask.sum()):,} | | | | |", flush=True)
            continue
        searches = [scan(vectors).search, filtered(vectors, keep)]
        full, ours = timed(searches, queries)
        print(
            f"| {name} | {int(mask.sum()):,} | {columns(ours)} | "
            f"{filtered_recall(vectors, mask, queries, searches[1]):.4f} | {ratio(full, ours):.1f}x |",
            flush=True,
        )


def scan(vectors: FaissIndex) -> Method:
    """Return FAISS's exhaustive search."""
    exact = vectors.exact
    return Method(
        "IndexFlatL2", "", lambda queries: exact.search(queries, DEPTH)[1], 0, exact.code_size
    )


def scan_fp16(matrix: Matrix) -> Method:
    """Return FAISS's exhaustive search in fp16."""
    started = time.perf_counter()
    index = faiss.IndexScalarQuantizer(
        matrix.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_L2
    )
    index.train(matrix[:1])
    index.add(matrix)
    seconds = time.perf_counter() - started
    return Method(
        "IndexFlatL2 in fp16",
        "",
        lambda queries: index.search(queries, DEPTH)[1],
        seconds,
        index.code_size,
    )


def served(vectors: FaissIndex, seconds: float, note: str) -> Method:
    """Return the served search."""
    settings = {name: value for name, value in vectors.settings.items() if name != "efConstruction"}
    return Method(
        f"{vectors.kind}{note}",
        ", ".join(f"{name} {value}" for name, value in settings.items()),
        lambda queries: nearest_neighbors(vectors, queries, DEPTH)[0],
        seconds,
        vectors.size_bytes / len(vectors),
    )


def filtered(vectors: FaissIndex, keep: NDArray[Any]) -> Search:
    """Return the served search with a filter, a mask or rows, including the parsing of the filter."""
    return lambda queries: nearest_neighbors(
        vectors, queries, DEPTH, filter_to_rows(keep, len(vectors))
    )[0]


def filtered_recall(
    vectors: FaissIndex, mask: NDArray[np.bool_], queries: Matrix, search: Search
) -> float:
    """Return the recall among the rows that a filter keeps; ties of the tenth count."""
    subset = FaissIndex(flat_index([vectors.matrix[mask]]))
    benchmark = RecallBenchmark(queries, kth_distances(subset, queries))
    if not mask[search(queries)].all():
        raise AssertionError("a search returned a row that the filter excludes")
    return search_recall(search, vectors.matrix, benchmark).mean


def timed(searches: Sequence[Search], queries: Matrix) -> list[NDArray[np.float64]]:
    """Time queries one by one, the searches in turn: milliseconds, (rounds, queries) each."""
    times = np.zeros((len(searches), ROUNDS, min(NUM_QUERIES, len(queries))))
    for turn in range(ROUNDS):
        for number, search in enumerate(searches):
            search(queries[:2])
            for column, query in enumerate(queries[:NUM_QUERIES]):
                started = time.perf_counter()
                search(query[np.newaxis])
                times[number, turn, column] = (time.perf_counter() - started) * 1000
    return list(times)


def columns(times: NDArray[np.float64]) -> str:
    """Format the median and the 99th percentile."""
    return " | ".join(f"{np.percentile(times, share):.3f}" for share in (50, 99))


def ratio(first: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return how many times faster the other is, the median over rounds."""
    pairs = zip(np.median(first, axis=1), np.median(other, axis=1), strict=True)
    return statistics.median(float(a / b) for a, b in pairs)


if __name__ == "__main__":
    main()
