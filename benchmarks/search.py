"""Searching: each kind of index beside comparing with every vector, usearch, and what autofaiss chooses.

On the vectors of the lake of FB_LAKE (``data`` without it), or with ``--drawn`` on some drawn at random. Of
those 1,000 are taken out first: half to choose by how far an index has to look, half to measure what it
then finds. The first table is of the rest; for 10,000, 100,000 and ``--largest`` more are made between real
neighbours. Photos held out are less like those than those are like each other, so that of queries made from
the rows, as the pipeline makes them, more is found there: see ``moved rows`` beside ``recall@10``. Only in
the first table should both say the same. All on one thread, the ways in turn, round by round; ratios are of
medians within a round, to FAISS's IndexFlatL2.

Then filters: a random 10 %, 1 % and 0.1 % of the rows, and halves, once at random, as a mask and as row
numbers in no order, and once by a plane, with queries on the kept side and on the other, beside a full scan
without a filter.

Expected before it was measured, at 100,000: ivf_rabitq 50x a scan of 10 to 16 ms at recall 0.995, built in
4 s; ivf_sq8 30x; hnsw 50x, built in half a minute, and autofaiss's no quicker at the same recall; usearch
near hnsw. A filter that keeps 10 % 6x a full scan, 1 % 80x, 0.1 % 200x, all with recall 1, as only what is
kept is compared; one that keeps half 8x at 0.99. On real vectors moved rows as hard as photos held out, to
0.002. Vectors in fp16 beside the index, rather than fp32, would find as much in half the bytes.
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
from search_rivals import Ask, Matrix, Way, autofaiss_ways, found, usearch_ways
from search_vectors import drawn, grown, read_real

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
ASKED = 100  # queries in a round
SHARES = (0.1, 0.01, 0.001)


def main() -> None:
    """Print a table of ways and one of filters for each size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--largest", type=int, default=100_000, help="vectors, at the most")
    parser.add_argument("--drawn", action="store_true", help="vectors drawn at random, no lake's")
    parser.add_argument("--no-rivals", action="store_true", help="leave out usearch and autofaiss")
    told = parser.parse_args()
    lake = os.environ.get("FB_LAKE", "data")
    real = drawn() if told.drawn else read_real(lake)
    if real is None:
        print(f"{lake} has no image_embeddings: run `make run`, set FB_LAKE, or add --drawn")
        return
    if len(real.choosing) == 0:
        print(
            f"{lake} has {len(real.searched)} vectors, of which none can be held out: add --drawn"
        )
        return
    faiss.omp_set_num_threads(1)
    parameters = IndexParameters.model_validate(yaml.safe_load(PARAMETERS.read_text())["indexing"])
    sizes = {size for size in (len(real.searched), 10_000, 100_000) if size < told.largest}
    for size in sorted(sizes | {told.largest}):
        made = max(0, size - len(real.searched))
        print(f"\n### {size:,} vectors, {made:,} of them made between real ones\n")
        matrix = grown(real.searched, size)
        compare(matrix, real.choosing, real.asking, parameters, not told.no_rivals)


def compare(
    matrix: Matrix,
    choosing: Matrix,
    asking: Matrix,
    parameters: IndexParameters,
    with_rivals: bool,
) -> None:
    """Print both tables for vectors.

    Args:
        matrix: float32, (rows, dimension), what is searched.
        choosing: float32, (queries, dimension), to choose settings by.
        asking: float32, (queries, dimension), to measure with.
        parameters: the recall that is asked for, and how it is measured.
        with_rivals: whether usearch and autofaiss's graph are built too.
    """
    flat = FaissIndex(flat_index([matrix]))
    exam, held_out = (
        RecallBenchmark(each, kth_distances(flat, each)) for each in (choosing, asking)
    )
    tried = [
        try_index_kind(kind, flat, exam, parameters) for kind in all_kinds(len(flat), parameters)
    ]
    able = [each for each in tried if each.recall.lower_bound >= parameters.recall]
    times = measure_latency({each.vectors.kind: each.vectors for each in able}, choosing)
    chosen = select_fastest(able, times).vectors
    moved = make_recall_queries(flat, parameters.queries, parameters.seed)
    ways, of_moved = [scan(flat), halves(matrix)], {}
    for each in tried:
        way = ours(each.vectors, each.seconds, " (auto)" if each.vectors is chosen else "")
        ways.append(way)
        of_moved[way.name] = f"{evaluate_recall(each.vectors, moved).mean:.4f}"
    if with_rivals:
        for rivals in (usearch_ways, autofaiss_ways):
            ways += rivals(matrix, exam, parameters.recall)
    print(
        "| way | set to | build s | bytes a vector | p50 ms | p99 ms | recall@10 | moved rows | flat |"
    )
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|")
    measured = timed([way.ask for way in ways], asking)
    for way, milliseconds in zip(ways, measured, strict=True):
        print(
            f"| {way.name} | {way.settings} | {way.build_seconds:.1f} | {way.bytes_per_vector:,.0f} | "
            f"{columns(milliseconds)} | {found(way.ask, matrix, held_out).mean:.4f} | "
            f"{of_moved.get(way.name, '')} | {ratio(measured[0], milliseconds):.1f}x |",
            flush=True,
        )
    compare_filters(chosen, asking)


def all_kinds(count: int, parameters: IndexParameters) -> list[Kind]:
    """Give every kind that auto would try on many vectors, and flat as it is served."""
    return candidate_kinds(
        count, parameters.model_copy(update={"kind": "auto", "flat_max_vectors": 0})
    )


def compare_filters(vectors: FaissIndex, asking: Matrix) -> None:
    """Print how an index answers under filters, beside a full scan without one."""
    random = np.random.default_rng(0)
    masks = {f"random {share:.1%}": random.random(len(vectors)) < share for share in SHARES}
    plane = random.normal(size=vectors.dimension).astype(np.float32)
    side = vectors.matrix @ plane
    upper = side > np.median(side)
    # One query, one half: of each pair, the half that the query is in, and the other one.
    above = asking @ plane > np.median(side)
    half = random.random(len(vectors)) < 0.5
    cases: list[tuple[str, NDArray[np.bool_], NDArray[Any], Matrix]] = [
        (name, mask, mask, asking) for name, mask in masks.items()
    ]
    cases += [
        ("random 50%", half, half, asking),
        ("the same, as rows", half, random.permutation(np.flatnonzero(half)), asking),
        ("the half that asks", upper, upper, asking[above]),
        ("the other half", upper, upper, asking[~above]),
    ]
    print(f"\n{vectors.kind} under a filter, beside a full scan\n")
    print("| keeps | rows | p50 ms | p99 ms | recall@10 | full scan |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, mask, keep, queries in cases:
        if not mask.any() or len(queries) == 0:
            print(f"| {name} | {int(mask.sum()):,} | | | | |", flush=True)
            continue
        ways = [scan(vectors).ask, filtered(vectors, keep)]
        full, ours_ = timed(ways, queries)
        print(
            f"| {name} | {int(mask.sum()):,} | {columns(ours_)} | "
            f"{filtered_recall(vectors, mask, queries, ways[1]):.4f} | {ratio(full, ours_):.1f}x |",
            flush=True,
        )


def scan(vectors: FaissIndex) -> Way:
    """Compare with every vector, by FAISS alone."""
    exact = vectors.exact
    return Way(
        "IndexFlatL2", "", lambda queries: exact.search(queries, DEPTH)[1], 0, exact.code_size
    )


def halves(matrix: Matrix) -> Way:
    """Compare with every vector in fp16."""
    started = time.perf_counter()
    index = faiss.IndexScalarQuantizer(
        matrix.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_L2
    )
    index.train(matrix[:1])
    index.add(matrix)
    seconds = time.perf_counter() - started
    return Way(
        "the same in fp16",
        "",
        lambda queries: index.search(queries, DEPTH)[1],
        seconds,
        index.code_size,
    )


def ours(vectors: FaissIndex, seconds: float, note: str) -> Way:
    """Search as it is served."""
    told = {name: value for name, value in vectors.settings.items() if name != "efConstruction"}
    return Way(
        f"{vectors.kind}{note}",
        ", ".join(f"{name} {value}" for name, value in told.items()),
        lambda queries: nearest_neighbors(vectors, queries, DEPTH)[0],
        seconds,
        vectors.size_bytes / len(vectors),
    )


def filtered(vectors: FaissIndex, keep: NDArray[Any]) -> Ask:
    """Search under a filter, a mask or rows, as it is served, reading the filter included."""
    return lambda queries: nearest_neighbors(
        vectors, queries, DEPTH, filter_to_rows(keep, len(vectors))
    )[0]


def filtered_recall(
    vectors: FaissIndex, mask: NDArray[np.bool_], queries: Matrix, ask: Ask
) -> float:
    """Give the share found of the ten nearest that a filter keeps; copies count."""
    kept = FaissIndex(flat_index([vectors.matrix[mask]]))
    exam = RecallBenchmark(queries, kth_distances(kept, queries))
    if not mask[ask(queries)].all():
        raise AssertionError("found a row that the filter does not keep")
    return found(ask, vectors.matrix, exam).mean


def timed(ways: Sequence[Ask], queries: Matrix) -> list[NDArray[np.float64]]:
    """Time queries one by one, the ways in turn: milliseconds, (rounds, queries) each."""
    times = np.zeros((len(ways), ROUNDS, min(ASKED, len(queries))))
    for turn in range(ROUNDS):
        for place, ask in enumerate(ways):
            ask(queries[:2])
            for column, query in enumerate(queries[:ASKED]):
                started = time.perf_counter()
                ask(query[np.newaxis])
                times[place, turn, column] = (time.perf_counter() - started) * 1000
    return list(times)


def columns(times: NDArray[np.float64]) -> str:
    """Tell the median and the 99th percentile."""
    return " | ".join(f"{np.percentile(times, share):.3f}" for share in (50, 99))


def ratio(first: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Give how many times quicker the other is, the median over rounds."""
    pairs = zip(np.median(first, axis=1), np.median(other, axis=1), strict=True)
    return statistics.median(float(a / b) for a, b in pairs)


if __name__ == "__main__":
    main()
