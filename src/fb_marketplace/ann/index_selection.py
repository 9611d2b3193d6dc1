"""Selection of the kind of index: the fastest that reaches the required recall."""

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from fb_marketplace.ann.recall_benchmark import (
    NUM_TIMED_QUERIES,
    HeldOut,
    Milliseconds,
    RecallBenchmark,
    RecallEstimate,
    evaluate_recall,
    hold_out_queries,
    max_measurable_recall,
    measure_latency,
)
from fb_marketplace.errors import UserError
from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace_serving.ann.build import K_FACTORS, build_index, search_settings
from fb_marketplace_serving.ann.faiss_index import FaissIndex, Kind, Settings

MIN_SPEEDUP: Final = 1.25
"""A kind replaces an earlier one only if it is this many times faster. Otherwise the selected kind, and
with it the bytes of the index, would depend on timing noise."""

PERFECT_RECALL: Final = RecallEstimate(1.0, 1.0)

SEARCH_PARAMETERS: Final = frozenset(["nprobe", "k_factor", "efSearch"])

_logger = logging.getLogger(__name__)


class IndexTrial(NamedTuple):
    """An index of one kind, at the first settings that reach the required recall, or at its best.

    Attributes:
        vectors: the index.
        recall: its recall.
        seconds: time to build the index.
        steps: the settings that were tried, in order, with their recall.
    """

    vectors: FaissIndex
    recall: RecallEstimate
    seconds: float
    steps: list[dict[str, Any]]


class SelectedIndex(NamedTuple):
    """An index of the selected kind, and a card that describes it."""

    vectors: FaissIndex
    card: dict[str, Any]


def select_index(vectors: FaissIndex, parameters: IndexParameters) -> dict[str, Any]:
    """Select the settings of the configured kind of index, or for ``auto`` the fastest of several kinds.

    Some rows are left out as queries, unless flat is the only kind. Each kind uses the first settings at
    which the lower bound of the recall reaches the required recall. The 95 % bound holds for a single
    setting. Since several are tried on the same queries, it is a margin, not a guarantee. Only ``flat``
    reaches a recall of 1. The settings of a kind are the same in every run; the kind that ``auto`` selects
    depends on measured times.

    Args:
        vectors: flat index of all vectors.
        parameters: the kind, the required recall, and the queries for measuring it.

    Returns:
        ``kind``, ``settings``, recall, query times, bytes per vector, and the same for each kind that was
        ``tried``.

    Raises:
        UserError: the configured kind does not reach the required recall at any setting.
    """
    kinds = candidate_kinds(len(vectors), parameters)
    others, benchmark = _hold_out(vectors, kinds, parameters)
    trials = [try_index_kind(kind, others, benchmark, parameters) for kind in kinds]
    passing = [trial for trial in trials if trial.recall.lower_bound >= parameters.recall]
    if not passing:
        raise UserError(_recall_error(trials[0], parameters))
    times = measure_latency(
        {trial.vectors.kind: trial.vectors for trial in passing}, benchmark.queries
    )
    fastest = select_fastest(passing, times)
    rows = {trial.vectors.kind: _row(trial, times.get(trial.vectors.kind)) for trial in trials}
    tried = [row | {"steps": trial.steps} for row, trial in zip(rows.values(), trials, strict=True)]
    return rows[fastest.vectors.kind] | {"vectors": len(vectors), "tried": tried}


def build_selected(
    vectors: FaissIndex, selection: Mapping[str, Any], parameters: IndexParameters
) -> SelectedIndex:
    """Build an index of the selected kind, and check its recall.

    The recall is measured as in :func:`select_index`. If it is too low, the index searches more. If that
    does not suffice, ``auto`` builds a flat index.

    Args:
        vectors: flat index of all vectors.
        selection: kind and settings, from :func:`select_index`.
        parameters: the required recall, and the queries for measuring it.

    Raises:
        UserError: the configured kind does not reach the required recall at any setting.
    """
    others, benchmark = _hold_out(vectors, [selection["kind"]], parameters)
    minimum = {name: selection["settings"].get(name, 0) for name in SEARCH_PARAMETERS}
    trial = try_index_kind(selection["kind"], others, benchmark, parameters, minimum)
    if trial.recall.lower_bound < parameters.recall:
        if parameters.kind != "auto":
            raise UserError(_recall_error(trial, parameters))
        _logger.warning(
            "%s; this index is flat", _recall_error(trial, parameters).partition(";")[0]
        )
        trial = try_index_kind("flat", others, benchmark, parameters)
    kind, settings = trial.vectors.kind, trial.vectors.settings
    started = time.perf_counter()
    index = build_index(
        kind, vectors.exact, seed=parameters.seed, part_rows=parameters.rows_per_part
    )
    search = {name: settings[name] for name in SEARCH_PARAMETERS & settings.keys()}
    if search.get("nprobe", 0) == settings.get("nlist"):  # The trial has fewer clusters.
        search["nprobe"] = index.settings["nlist"]
    index.set_search_params(search)
    built = trial._replace(vectors=index, seconds=time.perf_counter() - started)
    times = measure_latency({kind: index}, benchmark.queries)
    selected_at = {"vectors_at_selection": selection["vectors"], "steps": trial.steps}
    return SelectedIndex(index, _row(built, times[kind]) | selected_at)


def candidate_kinds(count: int, parameters: IndexParameters) -> list[Kind]:
    """Return the kinds to try for this number of vectors, in order of preference.

    Exact kinds come first, then those that are small and quick to build.
    """
    if parameters.kind != "auto":
        return [parameters.kind]
    if count <= parameters.flat_max_vectors:
        return ["flat"]
    graph: list[Kind] = ["hnsw"] if count <= parameters.hnsw_max_vectors else []
    return ["flat", "ivf_pq", "ivf_rabitq", "ivf_sq8", *graph]


def try_index_kind(
    kind: Kind,
    vectors: FaissIndex,
    benchmark: RecallBenchmark,
    parameters: IndexParameters,
    minimum: Settings | None = None,
) -> IndexTrial:
    """Build an index of a kind, and widen its search until it reaches the required recall.

    Args:
        kind: the kind.
        vectors: flat index of the vectors.
        benchmark: the queries.
        parameters: the required recall.
        minimum: smallest values of the search parameters to try.
    """
    started = time.perf_counter()
    index = build_index(
        kind, vectors.exact, seed=parameters.seed, part_rows=parameters.rows_per_part
    )
    seconds = time.perf_counter() - started
    if kind == "flat":
        return IndexTrial(index, PERFECT_RECALL, seconds, [])
    recall, steps = RecallEstimate(0.0, 0.0), []
    saturated: float = 0
    for settings in _wider_settings(index, minimum or {}):
        k_factor = settings.get("k_factor", math.inf)
        if k_factor <= saturated:
            continue
        index.set_search_params(settings)
        before, recall = recall, evaluate_recall(index, benchmark)
        steps.append(_step(settings, recall))
        if recall.lower_bound >= parameters.recall:
            break
        # More clusters no longer help: too few of their candidates are compared exactly.
        if recall.mean == before.mean and k_factor < max(K_FACTORS.get(kind, (0,))):
            saturated = k_factor
    return IndexTrial(index, recall, seconds, steps)


def select_fastest(trials: Sequence[IndexTrial], times: Mapping[str, Milliseconds]) -> IndexTrial:
    """Return the first trial, or a later one that is ``MIN_SPEEDUP`` times faster.

    Args:
        trials: trials with the required recall, in order of preference.
        times: query times by kind.
    """
    fastest = trials[0]
    for trial in trials[1:]:
        before, now = (np.median(times[one.vectors.kind]) for one in (fastest, trial))
        if before > MIN_SPEEDUP * now:
            fastest = trial
    return fastest


def _hold_out(vectors: FaissIndex, kinds: list[Kind], parameters: IndexParameters) -> HeldOut:
    """Leave queries out of an index. For flat alone, return all rows: only its speed is measured."""
    if kinds == ["flat"]:
        queries = vectors.matrix[:NUM_TIMED_QUERIES]
        return HeldOut(vectors, RecallBenchmark(queries, np.zeros(len(queries), np.float32)))
    return hold_out_queries(vectors, parameters.queries, parameters.seed)


def _wider_settings(index: FaissIndex, minimum: Settings) -> Iterator[Settings]:
    limits = minimum | {"nprobe": min(minimum.get("nprobe", 0), index.settings.get("nlist", 0))}
    for settings in search_settings(index):
        if all(value >= limits.get(name, 0) for name, value in settings.items()):
            yield settings


def _step(settings: Settings, recall: RecallEstimate) -> dict[str, Any]:
    return settings | {
        "recall_at_10": round(recall.mean, 5),
        "lower_bound": round(recall.lower_bound, 5),
    }


def _row(trial: IndexTrial, times: Milliseconds | None) -> dict[str, Any]:
    """Return the card of a trial. Only trials with the required recall have times."""
    p50, p99 = (None, None) if times is None else np.percentile(times, (50, 99)).round(4).tolist()
    return {
        "kind": trial.vectors.kind,
        "settings": trial.vectors.settings,
        "recall_at_10": round(trial.recall.mean, 5),
        "p50_ms": p50,
        "p99_ms": p99,
        "bytes_per_vector": round(trial.vectors.size_bytes / len(trial.vectors), 1),
        "build_seconds": round(trial.seconds, 3),
    }


def _recall_error(trial: IndexTrial, parameters: IndexParameters) -> str:
    message = (
        f"Index kind {trial.vectors.kind} reaches Recall@10 {trial.recall.mean:.4f} (lower bound "
        f"{trial.recall.lower_bound:.4f} at 95 %); the required recall is {parameters.recall:g}. Lower "
        "`recall`, or set `kind` to auto"
    )
    if parameters.recall == 1:
        return f"{message}. Only flat reaches a recall of 1."
    if parameters.recall > max_measurable_recall(parameters.queries):
        return f"{message}, or raise `queries`: {parameters.queries:,} are too few to show this recall."
    return f"{message}."
