"""Precision and recall of all results above the threshold; precision of the first ten in each order."""

import random
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from fb_marketplace.evaluation.retrieval_metrics import DEPTH
from fb_marketplace.parameters.ranking import RankingEvaluationParameters
from fb_marketplace.pipelines.ranking.served.cases import (
    Evaluation,
    case_table,
    estimate_mean,
)
from fb_marketplace.pipelines.ranking.served.search import ServedSearch
from fb_marketplace.pipelines.ranking.synthetic_queries import SearchQuery
from fb_marketplace.pipelines.ranking.train_relevance import judge_relevance, nonsense_query
from fb_marketplace_serving.search.engine import Sort

PRECISION: Final = "precision"
TITLE_RECALL: Final = "title_recall"
SORTED_PRECISION: Final = f"sorted_precision_at_{DEPTH}"

SORTS: Final[tuple[Sort, ...]] = ("relevance", "newest", "price_asc", "distance")
NONSENSE_QUERIES: Final = 100


def evaluate_precision(
    served: ServedSearch,
    queries: Sequence[SearchQuery],
    threshold: float,
    parameters: RankingEvaluationParameters,
) -> Evaluation:
    """Evaluate the results of queries of one and two words.

    Args:
        served: the search.
        queries: the queries.
        threshold: its threshold.
        parameters: parameters of the bootstrap.

    Returns:
        Metrics: ``threshold``; number of ``searches``; ``precision``, the mean share of relevant listings
        among the results of a search; ``title_recall``, the mean share of results among the listings whose
        title has all words of a search; ``precision_at_10`` by order, each with its ratio
        ``to_best_first``; and ``nonsense_with_hits``, the share of 100 nonsense queries with results. A
        ``random_baseline`` is the value for as many random listings. An estimate without cases is None:
        ``distance`` without locations, ``newest`` without dates. Cases: the precision and recall by query,
        and mean precision in the orders other than best first.
    """
    rows = [_judge(served, query) for query in queries]
    column = {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}
    chance = random.Random(parameters.seed)
    nonsense = [served.correct(nonsense_query(chance, n).words) for n in range(NONSENSE_QUERIES)]
    with_hits = float(np.mean([bool(served.search(text).hits) for text in nonsense]))
    metrics: dict[str, Any] = {"threshold": threshold, "searches": len(queries)}
    if not rows:
        return Evaluation(metrics | {"nonsense_with_hits": with_hits}, case_table([], {}))
    groups = [query.group for query in queries]
    listings = len(queries) * len(served.corpus.indexes.listings)
    random_precision = round(float(column["relevant"].sum() / listings), 4)
    precision = _divide(column["right"], column["passing"])
    title_recall = _divide(column["titles_found"], column["titles"])
    metrics[PRECISION] = _with_baseline(
        estimate_mean(precision, groups, parameters), random_precision
    )
    metrics[TITLE_RECALL] = _with_baseline(
        estimate_mean(title_recall, groups, parameters),
        round(float(column["passing"].sum() / listings), 4),
    )
    orders = {sort: estimate_mean(column[sort], groups, parameters) for sort in SORTS}
    best = (orders["relevance"] or {}).get("value")
    metrics[f"precision_at_{DEPTH}"] = {
        sort: order and order | {"to_best_first": round(order["value"] / best, 4) if best else None}
        for sort, order in orders.items()
    } | {"random_baseline": random_precision}
    metrics["nonsense_with_hits"] = with_hits
    return Evaluation(
        metrics,
        case_table(
            queries,
            {
                PRECISION: precision,
                TITLE_RECALL: title_recall,
                SORTED_PRECISION: [_mean_of_others(row) for row in rows],
            },
        ),
    )


def _judge(served: ServedSearch, query: SearchQuery) -> dict[str, float]:
    """Count the results of a query, and compute the precision of the first ten in every order."""
    relevant, has_all = judge_relevance(served.corpus, query)
    text = served.correct(query.words)
    results = served.search(text)
    passes = np.zeros(len(relevant), np.bool_)
    for hit in results.hits:
        passes[[hit.position, *hit.duplicates]] = True
    row: dict[str, float] = {
        "relevant": int(relevant.sum()),
        "passing": int(passes.sum()),
        "right": int(relevant[passes].sum()),
        "titles": int(has_all.sum()),
        "titles_found": int(has_all[passes].sum()),
    }
    listings = served.corpus.indexes.listings
    places = np.flatnonzero(~np.isnan(listings.features.latitude)).tolist()
    # Search from a random listing: from the query's own listing, it would always be the nearest.
    near = random.Random(f"{query.kind} {query.product_id}").choice(places) if places else None
    for sort in SORTS:
        if (sort == "distance" and near is None) or (sort == "newest" and not listings.has_dates):
            row[sort] = float("nan")
            continue
        hits = results.hits if sort == "relevance" else served.search(text, sort, near).hits
        first = hits.positions[:DEPTH]
        row[sort] = float(relevant[first].mean()) if len(first) else float("nan")
    return row


def _with_baseline(estimate: dict[str, Any] | None, baseline: float) -> dict[str, Any] | None:
    return estimate and estimate | {"random_baseline": baseline}


def _divide(parts: Any, totals: Any) -> list[float]:
    return [
        part / total if total else float("nan") for part, total in zip(parts, totals, strict=True)
    ]


def _mean_of_others(row: dict[str, float]) -> float:
    """Return the mean precision in the orders other than best first; NaN without results."""
    values = [row[sort] for sort in SORTS if sort != "relevance" and not np.isnan(row[sort])]
    return float(np.mean(values)) if values else float("nan")
