"""How good a search is: the ranker beside fixed fusion and each source alone, query by query and in all."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.evaluation.bootstrap import mean_by_group
from fb_marketplace.evaluation.console import log_metrics
from fb_marketplace.evaluation.retrieval_metrics import DEPTH, NDCG, ndcg_at, recall_at
from fb_marketplace.parameters.ranking import RankingEvaluationParameters
from fb_marketplace.pipelines.ranking.judged_candidates import JudgedCandidates, first_grades
from fb_marketplace_serving.search.candidates import SOURCES
from fb_marketplace_serving.search.ranker import Ranker

RANKER: Final = "ranker"
FUSION: Final = "fusion"
RANDOM: Final = "chance"
RECALL: Final = f"recall_at_{DEPTH}"
ALL: Final = "all"

Scores = Callable[[JudgedCandidates], NDArray[np.float64]]


class Method(NamedTuple):
    """A way to put candidates in order.

    Attributes:
        scores: the highest first.
        of: those that count; None for all.
    """

    scores: NDArray[np.float64]
    of: NDArray[np.bool_] | None


def evaluate_queries(searched: list[JudgedCandidates], ranker: Ranker) -> pd.DataFrame:
    """Measure each search by each method.

    Args:
        searched: what each search found, with grades.
        ranker: what is measured.

    Returns:
        ``kind``, ``product_id``, ``group``, ``method``, ``measure`` (NDCG at ten, and whether the source
        listing is among the first ten) and ``value``. Methods are the ranker, fusion of reciprocal ranks,
        each source alone where the search asks it, and chance: a random order of the candidates of all
        sources.
    """
    rows: list[dict[str, Any]] = []
    for place, found in enumerate(searched):
        for name, method in _methods(found, ranker, place).items():
            hits = first_grades(method.scores, found, DEPTH, method.of)[np.newaxis]
            values = {
                NDCG: ndcg_at(hits, found.available[np.newaxis], DEPTH)[0],
                RECALL: recall_at(hits, DEPTH)[0],
            }
            rows.extend(
                {
                    "kind": found.asked.kind,
                    "product_id": found.asked.product_id,
                    "group": found.asked.group,
                    "method": name,
                    "measure": measure,
                    "value": float(value),
                }
                for measure, value in values.items()
            )
    return pd.DataFrame(rows)


def _methods(found: JudgedCandidates, ranker: Ranker, seed: int) -> Mapping[str, Method]:
    methods = {
        RANKER: Method(ranker.scores(found.features), None),
        FUSION: Method(found.pool.fused, None),
        RANDOM: Method(np.random.default_rng(seed).random(len(found.pool)), None),
    }
    for source in SOURCES:
        if source in found.pool.rank:
            ranks = found.pool.rank[source]
            methods[source] = Method(-ranks.astype(np.float64), ranks > 0)
    return methods


def summarize_queries(
    measured: pd.DataFrame, parameters: RankingEvaluationParameters
) -> dict[str, Any]:
    """Estimate each measure by kind of search and method, and by how much the ranker is better.

    Args:
        measured: see :func:`measure_searches`.
        parameters: of the bootstrap.

    Returns:
        By kind, ``all`` among them, and measure: ``methods``, an estimate each; ``best_source``; and
        ``gains`` of the ranker over fusion and over the best source, query by query, in all and as a share
        of what the other reaches: None where that is nothing.
    """
    kinds = [*measured["kind"].unique(), ALL]
    return {
        kind: {
            measure: _summary(
                measured[
                    (measured["measure"] == measure)
                    & ((measured["kind"] == kind) if kind != ALL else True)
                ],
                parameters,
            )
            for measure in (NDCG, RECALL)
        }
        for kind in kinds
    }


def log_ranking_metrics(ranking_metrics: dict[str, Any]) -> None:
    """Log the metrics of each kind of search, the gains of the ranker, and those of text to image."""
    for kind, metrics in ranking_metrics["searches"].items():
        ndcg, recall = metrics[NDCG], metrics[RECALL]["methods"]
        log_metrics(
            f"{kind}, {ndcg['methods'][RANKER]['cases']:,} searches of the test split",
            {
                name: {"NDCG@10": estimate, "R@10 of the source listing": recall[name]}
                for name, estimate in ndcg["methods"].items()
            },
            {
                f"{RANKER} - {name}": {"NDCG@10": gain, "relative": gain["share"]}
                for name, gain in ndcg["gains"].items()
            },
        )
    images = ranking_metrics["words_to_pictures"]
    log_metrics(
        f"titles among {images['photos']:,} photos",
        {
            "text to image": {"R@10": images["recall_at_10"]},
            "random photo of the category": {"R@10": images["in_category"]},
        },
    )


def _summary(part: pd.DataFrame, parameters: RankingEvaluationParameters) -> dict[str, Any]:
    wide = part.pivot_table(
        index=["kind", "product_id", "group"], columns="method", values="value"
    ).reset_index()
    groups = wide["group"]
    # A source that not every search asks cannot be held against the others.
    sources = [name for name in SOURCES if name in wide and wide[name].notna().all()]
    methods = [RANKER, FUSION, *sources, RANDOM]
    means = {name: float(wide[name].to_numpy().mean()) for name in methods}
    best = max(sources, key=means.__getitem__, default=None)
    # Words alone are what a search began with.
    against = [name for name in dict.fromkeys((FUSION, best, "bm25")) if name in means]
    return {
        "methods": {name: _estimate(wide[name], groups, parameters) for name in methods},
        "best_source": best,
        "gains": {
            name: _estimate(wide[RANKER] - wide[name], groups, parameters)
            | {"share": _share(means[RANKER], means[name])}
            for name in against
        },
    }


def _share(reached: float, other: float) -> float | None:
    """Say by what share of the other more is reached; nothing where the other reaches nothing."""
    return round(reached / other - 1, 4) if other else None


def _estimate(
    values: "pd.Series[float]", groups: "pd.Series[Any]", parameters: RankingEvaluationParameters
) -> dict[str, Any]:
    return mean_by_group(
        values, groups, parameters.bootstrap_samples, parameters.confidence, parameters.seed
    ).to_dict()
