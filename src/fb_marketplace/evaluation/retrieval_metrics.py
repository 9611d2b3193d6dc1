"""Retrieval metrics: one value per query."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.evaluation.relevance import SAME_PRODUCT, SAME_ROOT, Grades

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

DEPTH: Final = 10
"""Largest cutoff k of the metrics at k."""

RECALLS: Final = {f"same_product_recall_at_{depth}": depth for depth in (1, 5, DEPTH)}
AVERAGE_PRECISION: Final = "same_product_map"
PRECISION: Final = f"same_category_precision_at_{DEPTH}"
NDCG: Final = f"ndcg_at_{DEPTH}"
PRODUCT_METRICS: Final = (*RECALLS, AVERAGE_PRECISION)
"""Metrics of queries whose listing has another photo that is not a copy."""


class RankedResults(NamedTuple):
    """Results of queries.

    Attributes:
        hits: int8, (queries, 10), grades of the first hits; padded with 0.
        available: int64, (queries, 4), number of photos of each grade, 0 to 3, in the gallery, without
            the query and its copies.
        average_precisions: float64, (queries,), with the listing's other photos as relevant; NaN if it has
            none. None if only the first hits are known.
    """

    hits: Grades
    available: Counts
    average_precisions: Floats | None


def compute_retrieval_metrics(ranking: RankedResults) -> dict[str, Floats]:
    """Compute the metrics of each query: (queries,) by name; NaN if no photo is relevant."""
    with_partner = ranking.available[:, SAME_PRODUCT] > 0
    metrics = {
        name: np.where(with_partner, recall_at(ranking.hits, depth), np.nan)
        for name, depth in RECALLS.items()
    }
    if ranking.average_precisions is not None:
        metrics[AVERAGE_PRECISION] = ranking.average_precisions
    return metrics | {
        PRECISION: precision_at(ranking.hits, DEPTH),
        NDCG: ndcg_at(ranking.hits, ranking.available, DEPTH),
    }


def recall_at(grades: Grades, depth: int) -> Floats:
    """Compute Recall@k as a hit rate: 1 if another photo of the listing is among the first hits, else 0.

    Args:
        grades: int8, (queries, hits), in ranked order.
        depth: number of hits to use.

    Returns:
        float64, (queries,).
    """
    recall: Floats = (grades[:, :depth] == SAME_PRODUCT).any(axis=1).astype(np.float64)
    return recall


def average_precision(query: Counts, rank: Counts, queries: int) -> Floats:
    """Compute the mean precision at the ranks of relevant photos (Buckley & Voorhees, 2000).

    Args:
        query: int64, (relevant,), the query of each relevant photo.
        rank: int64, (relevant,), its rank from 1.
        queries: number of queries.

    Returns:
        (queries,); NaN if no photo is relevant.
    """
    order = np.lexsort((rank, query))
    totals = np.bincount(query, minlength=queries)
    before = np.arange(len(order)) - np.repeat(np.cumsum(totals) - totals, totals)
    sums = np.bincount(query[order], (before + 1) / rank[order], minlength=queries)
    return np.where(totals > 0, sums / np.maximum(totals, 1), np.nan)


def precision_at(grades: Grades, depth: int) -> Floats:
    """Compute the share of the first hits in the query's root category; missing hits count as wrong."""
    shares: Floats = (grades[:, :depth] >= SAME_ROOT).sum(axis=1) / depth
    return shares


def ndcg_at(grades: Grades, available: Counts, depth: int) -> Floats:
    """Compute the normalized discounted cumulative gain (Järvelin & Kekäläinen, 2002).

    The gain of a grade g is 2^g - 1 (Burges et al., 2005), the discount of a rank r is 1 / log2(r + 1),
    and the ideal is the best order of all photos in the gallery.

    Args:
        grades: int8, (queries, hits), in ranked order.
        available: int64, (queries, 4), number of photos of each grade in the gallery.
        depth: number of hits to use.

    Returns:
        (queries,); NaN if no photo has a gain.
    """
    best = discounted_gain(ideal_grades(available, depth))
    actual = discounted_gain(grades[:, :depth])
    return np.where(best > 0, actual / np.where(best > 0, best, 1), np.nan)


def discounted_gain(grades: Grades) -> Floats:
    """Compute the sum of the gains of hits, discounted by rank: (queries,)."""
    summed: Floats = gains(grades) @ discounts(grades.shape[1])
    return summed


def gains(grades: NDArray[np.integer]) -> Floats:
    """Return the gains 2^g - 1 of grades g: float64, in the same shape."""
    return np.exp2(grades.astype(np.float64)) - 1


def discounts(depth: int) -> Floats:
    """Return the discounts 1 / log2(r + 1) of ranks r from 1: (depth,)."""
    return 1 / np.log2(np.arange(2, depth + 2, dtype=np.float64))


def ideal_grades(available: Counts, depth: int) -> Grades:
    """Return the first grades of the ideal order: int8, (queries, depth)."""
    # Rank r has the highest grade g such that at least r photos have grade g or higher.
    at_least = np.cumsum(available[:, ::-1], axis=1)[:, :-1]
    ranks = np.arange(1, depth + 1)
    best: Grades = (ranks <= at_least[:, :, np.newaxis]).sum(axis=1).astype(np.int8)
    return best
