"""What a random order would give: the expectation of each measure, in closed form."""

import numpy as np

from fb_marketplace.evaluation.relevance import SAME_PRODUCT, SAME_ROOT
from fb_marketplace.evaluation.retrieval_metrics import (
    AVERAGE_PRECISION,
    DEPTH,
    NDCG,
    PRECISION,
    RECALLS,
    Counts,
    Floats,
    discounted_gain,
    discounts,
    gains,
    ideal_grades,
)


def expected_random(available: Counts) -> dict[str, Floats]:
    """Give what each query may expect of a random order: (queries,) by measure.

    Args:
        available: int64, (queries, 4), how many photos of each grade, from 0 to 3, there are.
    """
    photos, partners = available.sum(axis=1), available[:, SAME_PRODUCT]
    expected = {name: random_recall(partners, photos, depth) for name, depth in RECALLS.items()}
    return expected | {
        AVERAGE_PRECISION: random_average_precision(partners, photos),
        PRECISION: random_precision(available[:, SAME_ROOT:].sum(axis=1), photos, DEPTH),
        NDCG: random_ndcg(available, DEPTH),
    }


def random_recall(relevant: Counts, photos: Counts, depth: int) -> Floats:
    """Give the chance that one of m among n is among the first k: 1 - C(n-m, k) / C(n, k).

    Args:
        relevant: (queries,), m.
        photos: (queries,), n.
        depth: k.
    """
    drawn = np.arange(depth)
    left = np.maximum(photos[:, np.newaxis] - drawn, 1)
    others = np.clip(photos[:, np.newaxis] - relevant[:, np.newaxis] - drawn, 0, None)
    # Where all have been drawn before the depth is reached, what is relevant was among them.
    return np.where(relevant > 0, 1 - np.prod(others / left, axis=1), 0.0)


def random_average_precision(relevant: Counts, photos: Counts) -> Floats:
    """Give the expected average precision of m among n: the mean over ranks i of E[precision].

    A relevant photo at rank i has on average (i-1)(m-1)/(n-1) others before it, and any rank is as
    likely as another (Bestgen, 2015). NaN where nothing is relevant.
    """
    harmonics = np.cumsum(1 / np.arange(1, photos.max(initial=1) + 1))[np.maximum(photos, 1) - 1]
    density = (relevant - 1) / np.maximum(photos - 1, 1)
    expected = (density * (photos - harmonics) + harmonics) / np.maximum(photos, 1)
    return np.where(relevant > 0, expected, np.nan)


def random_precision(relevant: Counts, photos: Counts, depth: int) -> Floats:
    """Give the expected share of the first hits that are relevant; those that lack are wrong."""
    return relevant / np.maximum(photos, 1) * np.minimum(photos, depth) / depth


def random_ndcg(available: Counts, depth: int) -> Floats:
    """Give the expected NDCG: at any rank stands the mean gain. NaN where there is nothing to gain."""
    photos = available.sum(axis=1)
    mean_gains = available @ gains(np.arange(available.shape[1])) / np.maximum(photos, 1)
    reached = np.minimum(photos, depth)
    summed = np.concatenate([[0.0], np.cumsum(discounts(depth))])[reached]
    best = discounted_gain(ideal_grades(available, depth))
    return np.where(best > 0, mean_gains * summed / np.where(best > 0, best, 1), np.nan)
