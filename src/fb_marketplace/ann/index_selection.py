"""Which kind of index, and how far it looks: the quickest that finds as much as is asked for."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from fb_marketplace.ann.recall_benchmark import (
    Milliseconds,
    RecallBenchmark,
    RecallEstimate,
    evaluate_recall,
    make_recall_queries,
    max_measurable_recall,
    measure_latency,
)
from fb_marketplace.errors import UserError
from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace_serving.ann.build import build_index, search_settings
from fb_marketplace_serving.ann.faiss_index import FaissIndex, Kind, Settings

MIN_SPEEDUP: Final = 1.25
"""How many times quicker a kind has to be than one that stands before it, so that what is chosen, and with
it the bytes of the index, does not hang on the noise of a clock."""

ALL_INDEX_KINDS: Final = RecallEstimate(1.0, 1.0)


class IndexTrial(NamedTuple):
    """An index of one kind, set to look as far as it must, or as it can.

    Attributes:
        vectors: the index.
        recall: how much of what is nearest it finds.
        seconds: that building it took.
        steps: each setting that was tried, in order, and its recall.
    """

    vectors: FaissIndex
    recall: RecallEstimate
    seconds: float
    steps: list[dict[str, Any]]


class SelectedIndex(NamedTuple):
    """An index, and what is to be known of it and of those that it was preferred to."""

    vectors: FaissIndex
    card: dict[str, Any]


def select_index(vectors: FaissIndex, parameters: IndexParameters) -> SelectedIndex:
    """Build the kind of index that the parameters name, or the quickest of several.

    Of each kind the first setting is taken whose recall is, by its lower bound, at least what is asked for.
    The bound is of one setting, at 95 %; as several are tried on the same queries, of the one that is taken
    it is a margin rather than an assurance. A recall of 1 is that of ``flat`` alone. Settings are the same
    each time; where ``kind`` is ``auto``, a clock decides between the kinds.

    Args:
        vectors: all of them, flat.
        parameters: the kind, the recall, and the queries that it is measured on.

    Raises:
        UserError: the kind that is named does not find so much, however far it looks.
    """
    exam = make_recall_queries(vectors, parameters.queries, parameters.seed)
    attempts = [
        try_index_kind(kind, vectors, exam, parameters)
        for kind in candidate_kinds(len(vectors), parameters)
    ]
    able = [each for each in attempts if each.recall.at_least >= parameters.recall]
    if not able:
        raise UserError(_too_little(attempts[0], parameters))
    times = measure_latency({each.vectors.kind: each.vectors for each in able}, exam.queries)
    chosen = fastest_setting(able, times)
    rows = {each.vectors.kind: _row(each, times.get(each.vectors.kind)) for each in attempts}
    tried = [row | {"steps": each.steps} for row, each in zip(rows.values(), attempts, strict=True)]
    return SelectedIndex(chosen.vectors, rows[chosen.vectors.kind] | {"tried": tried})


def candidate_kinds(count: int, parameters: IndexParameters) -> list[Kind]:
    """Say which kinds are tried on so many vectors, the preferred first: exact, small, soon built."""
    if parameters.kind != "auto":
        return [parameters.kind]
    if count <= parameters.flat_max_vectors:
        return ["flat"]
    graph: list[Kind] = ["hnsw"] if count <= parameters.hnsw_max_vectors else []
    return ["flat", "ivf_rabitq", "ivf_sq8", *graph]


def try_index_kind(
    kind: Kind, vectors: FaissIndex, exam: RecallBenchmark, parameters: IndexParameters
) -> IndexTrial:
    """Build an index of a kind, and let it look further until it finds what is asked for."""
    started = time.perf_counter()
    built = build_index(
        kind, vectors.exact, seed=parameters.seed, part_rows=parameters.rows_per_part
    )
    seconds = time.perf_counter() - started
    if kind == "flat":
        return IndexTrial(built, ALL_INDEX_KINDS, seconds, [])
    recall, steps = RecallEstimate(0.0, 0.0), []
    for effort in search_settings(built):
        built.look(effort)
        recall = evaluate_recall(built, exam)
        steps.append(_step(effort, recall))
        if recall.at_least >= parameters.recall:
            break
    return IndexTrial(built, recall, seconds, steps)


def fastest_setting(
    attempts: Sequence[IndexTrial], times: Mapping[str, Milliseconds]
) -> IndexTrial:
    """Take the first of them, or a later one that is much quicker.

    Args:
        attempts: of those that find enough, the preferred one first.
        times: of queries, by kind.
    """
    chosen = attempts[0]
    for each in attempts[1:]:
        before, now = (np.median(times[one.vectors.kind]) for one in (chosen, each))
        if before > MIN_SPEEDUP * now:
            chosen = each
    return chosen


def _step(effort: Settings, recall: RecallEstimate) -> dict[str, Any]:
    return effort | {"recall_at_10": round(recall.mean, 5), "at_least": round(recall.at_least, 5)}


def _row(found: IndexTrial, times: Milliseconds | None) -> dict[str, Any]:
    """Describe an attempt; times are there only of those that find what is asked for."""
    p50, p99 = (None, None) if times is None else np.percentile(times, (50, 99)).round(4).tolist()
    return {
        "kind": found.vectors.kind,
        "settings": found.vectors.settings,
        "recall_at_10": round(found.recall.mean, 5),
        "p50_ms": p50,
        "p99_ms": p99,
        "bytes_a_vector": round(found.vectors.size_bytes / len(found.vectors), 1),
        "build_seconds": round(found.seconds, 3),
    }


def _too_little(found: IndexTrial, parameters: IndexParameters) -> str:
    told = (
        f"an index of kind {found.vectors.kind} finds {found.recall.mean:.4f} of the ten nearest "
        f"(at least {found.recall.at_least:.4f}, at 95 %) however far it looks; expected "
        f"{parameters.recall:g}: lower indexing.recall, or set indexing.kind to auto"
    )
    if parameters.recall == 1:
        return f"{told}; a recall of 1 is only that of flat"
    if parameters.recall > max_measurable_recall(parameters.queries):
        return (
            f"{told}, or raise indexing.queries: {parameters.queries:,} are too few to show so much"
        )
    return told
