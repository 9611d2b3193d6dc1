"""Search metrics of the ranker, rank fusion and each source alone: per query and summarized."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.evaluation.bootstrap import mean_by_group
from fb_marketplace.evaluation.relevance import SAME_PATH, Grades
from fb_marketplace.evaluation.retrieval_metrics import DEPTH, NDCG, ndcg_at, recall_at
from fb_marketplace.parameters.ranking import RankingEvaluationParameters
from fb_marketplace.pipelines.ranking.composed_queries import COMPOSED
from fb_marketplace.pipelines.ranking.judged_candidates import JudgedCandidates, first_grades
from fb_marketplace.pipelines.ranking.synthetic_queries import SearchQuery
from fb_marketplace_serving.search.candidates import SOURCES
from fb_marketplace_serving.search.ranking.ranker import Ranker

RANKER: Final = "ranker"
FUSION: Final = "fusion"
RANDOM: Final = "random"
RECALL: Final = f"recall_at_{DEPTH}"
ALL: Final = "all"
QUERY_COLUMNS: Final = ("kind", "product_id", "group")


class Method(NamedTuple):
    """A way to rank candidates.

    Attributes:
        judged: the candidates.
        scores: float64, (candidates,), higher is better.
        mask: bool, (candidates,), the candidates to rank; None for all.
    """

    judged: JudgedCandidates
    scores: NDArray[np.float64]
    mask: NDArray[np.bool_] | None


class Alternative(NamedTuple):
    """A method to compare the ranker with.

    Attributes:
        judged: candidates of the same queries, possibly of a part of each.
        ranker: orders them.
    """

    judged: list[JudgedCandidates]
    ranker: Ranker


def evaluate_queries(
    judged: list[JudgedCandidates],
    ranker: Ranker,
    alternatives: Mapping[str, Alternative] = MappingProxyType({}),
) -> pd.DataFrame:
    """Evaluate each ranking method on each query.

    Args:
        judged: graded candidates of the queries.
        ranker: the ranker.
        alternatives: further methods by name.

    Returns:
        A table with ``kind``, ``product_id``, ``group``, ``method``, ``measure`` (NDCG@10 or Recall@10) and
        ``value``. Methods are the ranker, reciprocal rank fusion, each source that the query uses,
        ``random``: a random order of all candidates, and the alternatives. Recall@10 is that of the source
        listing. Of composed queries, it is the share of the relevant listings among the first ten, of ten
        if there are more.
    """
    names: list[str] = []
    queries: list[SearchQuery] = []
    hits, available, recalls = [], [], []
    for number, candidates in enumerate(judged):
        methods = _methods(candidates, ranker, number)
        for name, (others, alternative) in alternatives.items():
            other = others[number]
            methods[name] = Method(other, alternative.scores(other.features), None)
        for name, method in methods.items():
            first = first_grades(method.scores, method.judged, DEPTH, method.mask)
            names.append(name)
            queries.append(candidates.query)
            hits.append(first)
            available.append(candidates.available)
            recalls.append(_recall(first[np.newaxis], candidates))
    if not queries:
        return pd.DataFrame()
    ndcg = ndcg_at(np.stack(hits), np.stack(available), DEPTH)
    measures = {NDCG: ndcg, RECALL: np.array(recalls)}
    columns = {name: [getattr(query, name) for query in queries] for name in QUERY_COLUMNS}
    table = pd.concat(
        [
            pd.DataFrame(columns | {"method": names, "measure": measure, "value": values})
            for measure, values in measures.items()
        ]
    )
    return table.sort_index(kind="stable", ignore_index=True)


def _recall(hits: Grades, judged: JudgedCandidates) -> float:
    if judged.query.kind != COMPOSED:
        return float(recall_at(hits, DEPTH)[0])
    relevant = int(judged.available[SAME_PATH:].sum())
    return float((hits >= SAME_PATH).sum() / min(relevant, DEPTH))


def _methods(judged: JudgedCandidates, ranker: Ranker, seed: int) -> dict[str, Method]:
    candidates = judged.candidates
    methods = {
        RANKER: Method(judged, ranker.scores(judged.features), None),
        FUSION: Method(judged, candidates.fused, None),
        RANDOM: Method(judged, np.random.default_rng(seed).random(len(candidates)), None),
    }
    for source in SOURCES:
        if source in candidates.rank:
            ranks = candidates.rank[source]
            methods[source] = Method(judged, -ranks.astype(np.float64), ranks > 0)
    return methods


def summarize_queries(
    queries: pd.DataFrame, parameters: RankingEvaluationParameters
) -> dict[str, Any]:
    """Estimate each metric by kind of query and method, and the gains of the ranker.

    Args:
        queries: see :func:`evaluate_queries`.
        parameters: parameters of the bootstrap.

    Returns:
        By kind (including ``all``) and metric: ``methods``, one estimate each; ``best_source``; and
        ``gains``, the mean paired differences of the ranker to fusion, to the best source, to BM25 and to
        the alternatives, with the relative gain as ``share`` (None if the other metric is zero).
    """
    kinds = [*queries["kind"].unique(), ALL]
    return {
        kind: {
            measure: _summary(
                queries[
                    (queries["measure"] == measure)
                    & ((queries["kind"] == kind) if kind != ALL else True)
                ],
                parameters,
            )
            for measure in (NDCG, RECALL)
        }
        for kind in kinds
    }


def _summary(part: pd.DataFrame, parameters: RankingEvaluationParameters) -> dict[str, Any]:
    wide = part.pivot_table(
        index=["kind", "product_id", "group"], columns="method", values="value"
    ).reset_index()
    groups = wide["group"]
    # Sources that only some queries use cannot be compared.
    sources = [name for name in SOURCES if name in wide and wide[name].notna().all()]
    columns = {"kind", "product_id", "group", RANKER, FUSION, *SOURCES, RANDOM}
    alternatives = [name for name in wide if name not in columns and wide[name].notna().all()]
    methods = [RANKER, FUSION, *sources, *alternatives, RANDOM]
    means = {name: float(wide[name].to_numpy().mean()) for name in methods}
    best = max(sources, key=means.__getitem__, default=None)
    others = [
        name for name in dict.fromkeys((FUSION, best, "bm25", *alternatives)) if name in means
    ]
    return {
        "methods": {name: _estimate(wide[name], groups, parameters) for name in methods},
        "best_source": best,
        "gains": {
            name: _estimate(wide[RANKER] - wide[name], groups, parameters)
            | {"share": _relative_gain(means[RANKER], means[name])}
            for name in others
        },
    }


def _relative_gain(value: float, other: float) -> float | None:
    """Return the gain relative to the other value; None if the other value is zero."""
    return round(value / other - 1, 4) if other else None


def _estimate(
    values: "pd.Series[float]", groups: "pd.Series[Any]", parameters: RankingEvaluationParameters
) -> dict[str, Any]:
    return mean_by_group(
        values, groups, parameters.bootstrap_samples, parameters.confidence, parameters.seed
    ).to_dict()
