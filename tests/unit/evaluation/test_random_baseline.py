from itertools import combinations, permutations

import numpy as np
import pytest

from fb_marketplace.evaluation import random_baseline
from fb_marketplace.evaluation.retrieval_metrics import (
    average_precision,
    ndcg_at,
    precision_at,
    recall_at,
)

SETS = [[3, 3, 2, 0, 0, 0], [3, 1, 0, 0, 0], [3, 3, 3], [3, 2, 2, 1, 1, 0]]


def orders(grades):
    """Every order of some photos, and how many there are of each grade: one row, and (1,)."""
    every = np.asarray(list(permutations(grades)), dtype=np.int8)
    available = np.bincount(grades, minlength=4)[np.newaxis]
    return every, available, np.asarray([len(grades)])


@pytest.mark.parametrize("grades", SETS)
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_random_recall_equals_mean_of_all_orders(grades, depth):
    every, available, photos = orders(grades)

    expected = recall_at(every, depth).mean()

    assert random_baseline.random_recall(available[:, 3], photos, depth) == pytest.approx(
        [expected]
    )


@pytest.mark.parametrize("grades", SETS)
def test_random_average_precision_equals_mean_of_all_orders(grades):
    every, available, photos = orders(grades)

    order, column = np.nonzero(every == 3)
    expected = average_precision(order, column + 1, len(every)).mean()

    assert random_baseline.random_average_precision(available[:, 3], photos) == pytest.approx(
        [expected]
    )


@pytest.mark.parametrize("grades", SETS)
@pytest.mark.parametrize("depth", [2, 5, 10])
def test_random_precision_and_ndcg_equal_mean_of_all_orders(grades, depth):
    every, available, photos = orders(grades)
    related = available[:, 1:].sum(axis=1)
    to_find = np.repeat(available, len(every), axis=0)

    precision = precision_at(every, depth).mean()
    ndcg = ndcg_at(every[:, :depth], to_find, min(depth, len(grades))).mean()

    assert random_baseline.random_precision(related, photos, depth) == pytest.approx([precision])
    assert random_baseline.random_ndcg(available, depth) == pytest.approx([ndcg])


def test_random_baseline_without_relevant_is_zero():
    none, few = np.asarray([0]), np.asarray([2])

    assert random_baseline.random_recall(none, few, 5).tolist() == [0]
    assert np.isnan(random_baseline.random_average_precision(none, few)).all()


@pytest.mark.parametrize(
    ("photos", "own"), [(8, 1), (8, 3), (8, 5), (8, 6), (8, 8), (3, 1), (2, 1)]
)
def test_random_recall_equals_enumeration_of_draws(photos, own):
    draws = list(combinations(range(photos), min(3, photos)))

    share = np.mean([min(draw) < own for draw in draws])

    assert random_baseline.random_recall(np.array([own]), np.array([photos]), 3)[
        0
    ] == pytest.approx(share)


def test_random_recall_is_exact_for_many_photos():
    drawn = np.random.default_rng(0).hypergeometric(4, 496, 10, 200_000)

    assert random_baseline.random_recall(np.array([4]), np.array([500]), 10)[0] == pytest.approx(
        np.mean(drawn > 0), abs=0.002
    )
    assert random_baseline.random_recall(np.array([1]), np.array([10_000_000]), 10)[
        0
    ] == pytest.approx(1e-6, rel=0.05)
