from itertools import permutations

import numpy as np
import pytest

from fb_marketplace.evaluation.retrieval_metrics import (
    average_precision,
    ndcg_at,
    precision_at,
    recall_at,
)
from fb_marketplace.pipelines.indexing import random_baseline

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

    expected = average_precision(every == 3).mean()

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
