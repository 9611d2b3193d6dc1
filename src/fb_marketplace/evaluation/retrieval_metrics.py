"""How good a ranking is: one number a query, by the measures of the field."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.evaluation.relevance import SAME_PRODUCT, SAME_ROOT, Grades

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

DEPTH: Final = 10
"""How many hits are looked at, where not all are."""

RECALLS: Final = {f"same_product_recall_at_{depth}": depth for depth in (1, 5, DEPTH)}
AVERAGE_PRECISION: Final = "same_product_map"
PRECISION: Final = f"same_category_precision_at_{DEPTH}"
NDCG: Final = f"ndcg_at_{DEPTH}"
PRODUCT_METRICS: Final = (*RECALLS, AVERAGE_PRECISION)
"""Measures that are of queries whose listing has another photo, not a copy."""


class RankedResults(NamedTuple):
    """What queries found.

    Attributes:
        hits: int8, (queries, 10), the grades of the first hits; 0 where there were no more.
        available: int64, (queries, 4), how many photos of each grade, from 0 to 3, there were to
            find, the query and its copies not counted.
        average_precisions: float64, (queries,), of the listing's other photos; NaN where there is
            none, and None where only the first hits are known.
    """

    hits: Grades
    available: Counts
    average_precisions: Floats | None


def compute_retrieval_metrics(ranking: RankedResults) -> dict[str, Floats]:
    """Measure each query: (queries,) by name, NaN where a query has nothing that could be found."""
    with_partner = ranking.available[:, SAME_PRODUCT] > 0
    found = {
        name: np.where(with_partner, recall_at(ranking.hits, depth), np.nan)
        for name, depth in RECALLS.items()
    }
    if ranking.average_precisions is not None:
        found[AVERAGE_PRECISION] = ranking.average_precisions
    return found | {
        PRECISION: precision_at(ranking.hits, DEPTH),
        NDCG: ndcg_at(ranking.hits, ranking.available, DEPTH),
    }


def recall_at(grades: Grades, depth: int) -> Floats:
    """Say of each query whether any of its first hits is another photo of its listing: 0 or 1.

    Args:
        grades: int8, (queries, hits), in the order in which they were found.
        depth: how many are looked at.
    """
    found: Floats = (grades[:, :depth] == SAME_PRODUCT).any(axis=1).astype(np.float64)
    return found


def average_precision(relevant: NDArray[np.bool_]) -> Floats:
    """Average the precision at each rank where a relevant photo stands (Buckley & Voorhees, 2000).

    Args:
        relevant: (queries, photos), in the order in which they were found, all of them.

    Returns:
        (queries,); NaN where nothing is relevant.
    """
    ranks = np.arange(1, relevant.shape[1] + 1)
    precisions = np.cumsum(relevant, axis=1) / ranks
    totals = relevant.sum(axis=1)
    sums = np.sum(precisions, axis=1, where=relevant)
    return np.where(totals > 0, sums / np.maximum(totals, 1), np.nan)


def precision_at(grades: Grades, depth: int) -> Floats:
    """Give the share of the first hits that are of the query's root category.

    Where there are fewer photos than are looked at, those that lack count as wrong.
    """
    shares: Floats = (grades[:, :depth] >= SAME_ROOT).sum(axis=1) / depth
    return shares


def ndcg_at(grades: Grades, available: Counts, depth: int) -> Floats:
    """Normalised discounted cumulative gain (Järvelin & Kekäläinen, 2002).

    The gain of a grade g is 2^g - 1, as Burges et al. (2005) have it, the discount of a rank r is
    log2(r + 1), and the ideal is the best order of all photos that there were to find.

    Args:
        grades: int8, (queries, hits), in the order in which they were found.
        available: int64, (queries, 4), how many photos of each grade there were to find.
        depth: how many hits are looked at.

    Returns:
        (queries,); NaN where nothing could be found that has a gain.
    """
    best = discounted_gain(ideal_grades(available, depth))
    found = discounted_gain(grades[:, :depth])
    return np.where(best > 0, found / np.where(best > 0, best, 1), np.nan)


def discounted_gain(grades: Grades) -> Floats:
    """Sum the gains of hits, each discounted by its rank: (queries,)."""
    summed: Floats = gains(grades) @ discounts(grades.shape[1])
    return summed


def gains(grades: NDArray[np.integer]) -> Floats:
    """Give what grades are worth."""
    return np.exp2(grades.astype(np.float64)) - 1


def discounts(depth: int) -> Floats:
    """Give what the ranks from 1 on count: (depth,)."""
    return 1 / np.log2(np.arange(2, depth + 2, dtype=np.float64))


def ideal_grades(available: Counts, depth: int) -> Grades:
    """Give the first grades of the best order: int8, (queries, depth)."""
    # At rank r stands the highest grade of which, with those above it, there are r.
    at_least = np.cumsum(available[:, ::-1], axis=1)[:, :-1]
    ranks = np.arange(1, depth + 1)
    best: Grades = (ranks <= at_least[:, :, np.newaxis]).sum(axis=1).astype(np.int8)
    return best
