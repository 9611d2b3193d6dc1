"""Random baseline: the expected value of each metric for a random order, in closed form."""

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
    """Return the expected metrics of a random order: (queries,) by metric.

    Args:
        available: int64, (queries, 4), photos of each grade from 0 to 3.
    """
    photos, partners = available.sum(axis=1), available[:, SAME_PRODUCT]
    expected = {name: random_recall(partners, photos, depth) for name, depth in RECALLS.items()}
    return expected | {
        AVERAGE_PRECISION: random_average_precision(partners, photos),
        PRECISION: random_precision(available[:, SAME_ROOT:].sum(axis=1), photos, DEPTH),
        NDCG: random_ndcg(available, DEPTH),
    }


def random_recall(relevant: Counts, photos: Counts, depth: int) -> Floats:
    """Return the expected Recall@k (hit rate): 1 - C(n-m, k) / C(n, k) for m relevant of n photos.

    Args:
        relevant: int64, (queries,), m.
        photos: int64, (queries,), n.
        depth: k.
    """
    drawn = np.arange(depth)
    left = np.maximum(photos[:, np.newaxis] - drawn, 1)
    others = np.clip(photos[:, np.newaxis] - relevant[:, np.newaxis] - drawn, 0, None)
    # If all photos are drawn before the depth is reached, the relevant ones are among them.
    return np.where(relevant > 0, 1 - np.prod(others / left, axis=1), 0.0)


def random_average_precision(relevant: Counts, photos: Counts) -> Floats:
    """Return the expected average precision for m relevant of n photos: E[precision] averaged over ranks i.

    A relevant photo at rank i has on average (i-1)(m-1)/(n-1) relevant ones before it, and all ranks are
    equally likely (Bestgen, 2015). NaN if nothing is relevant.
    """
    harmonics = np.cumsum(1 / np.arange(1, photos.max(initial=1) + 1))[np.maximum(photos, 1) - 1]
    density = (relevant - 1) / np.maximum(photos - 1, 1)
    expected = (density * (photos - harmonics) + harmonics) / np.maximum(photos, 1)
    return np.where(relevant > 0, expected, np.nan)


def random_precision(relevant: Counts, photos: Counts, depth: int) -> Floats:
    """Return the expected Precision@k; missing hits count as irrelevant."""
    return relevant / np.maximum(photos, 1) * np.minimum(photos, depth) / depth


def random_ndcg(available: Counts, depth: int) -> Floats:
    """Return the expected NDCG@k: each rank has the mean gain. NaN if no photo has a gain."""
    photos = available.sum(axis=1)
    mean_gains = available @ gains(np.arange(available.shape[1])) / np.maximum(photos, 1)
    reached = np.minimum(photos, depth)
    summed = np.concatenate([[0.0], np.cumsum(discounts(depth))])[reached]
    best = discounted_gain(ideal_grades(available, depth))
    return np.where(best > 0, mean_gains * summed / np.where(best > 0, best, 1), np.nan)
