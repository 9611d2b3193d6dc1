import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from fb_marketplace.evaluation.retrieval_metrics import (
    RankedResults,
    average_precision,
    compute_retrieval_metrics,
    ideal_grades,
    ndcg_at,
    precision_at,
    recall_at,
)


def ranked(*grades):
    return np.asarray(grades, dtype=np.int8)


def counted(grades):
    return np.stack([np.bincount(row, minlength=4) for row in grades])


@pytest.fixture
def shuffled():
    """Grades of 40 photos for 30 queries, in a random order; each query has something to find."""
    random = np.random.default_rng(0)
    grades = random.choice(4, size=(30, 40), p=[0.7, 0.15, 0.1, 0.05]).astype(np.int8)
    grades[:, 0] = 3
    return random.permuted(grades, axis=1)


def test_recall_needs_one_other_photo_of_listing():
    grades = ranked([2, 3, 3, 0], [2, 1, 0, 0])

    assert recall_at(grades, 1).tolist() == [0, 0]
    assert recall_at(grades, 2).tolist() == [1, 0]
    assert recall_at(grades, 4).tolist() == [1, 0]


def test_average_precision_equals_sklearn(shuffled):
    relevant = shuffled == 3
    scores = -np.arange(relevant.shape[1])

    query, column = np.nonzero(relevant)
    result = average_precision(query, column + 1, len(relevant))

    assert result == pytest.approx([average_precision_score(row, scores) for row in relevant])


def test_average_precision_without_relevant_is_undefined():
    assert np.isnan(average_precision(*np.zeros((2, 0), int), 1)).all()


def test_precision_counts_photos_of_category():
    assert precision_at(ranked([3, 2, 1, 0]), 4).tolist() == [0.75]


def test_missing_hits_count_as_wrong():
    assert precision_at(ranked([1, 1]), 10).tolist() == [0.2]


def test_ndcg_equals_sklearn(shuffled):
    scores = -np.arange(shuffled.shape[1], dtype=float)
    expected = [ndcg_score([2.0**row - 1], [scores], k=10) for row in shuffled]

    result = ndcg_at(shuffled[:, :10], counted(shuffled), 10)

    assert result == pytest.approx(expected)


def test_ndcg_without_relevant_is_undefined():
    assert np.isnan(ndcg_at(ranked([0, 0]), np.asarray([[2, 0, 0, 0]]), 2)).all()


def test_ideal_ranking_uses_all_relevant(shuffled):
    best = -np.sort(-shuffled, axis=1)

    assert ideal_grades(counted(shuffled), 25).tolist() == best[:, :25].tolist()


def test_query_without_partner_is_measured_by_category():
    ranking = RankedResults(
        hits=ranked([1] + [0] * 9, [3] + [0] * 9),
        available=np.asarray([[9, 1, 0, 0], [9, 0, 0, 1]]),
        average_precisions=np.asarray([np.nan, 1.0]),
    )

    counted_for = {
        name: (~np.isnan(item)).tolist()
        for name, item in compute_retrieval_metrics(ranking).items()
    }

    assert counted_for == {
        "same_product_recall_at_1": [False, True],
        "same_product_recall_at_5": [False, True],
        "same_product_recall_at_10": [False, True],
        "same_product_map": [False, True],
        "same_category_precision_at_10": [True, True],
        "ndcg_at_10": [True, True],
    }


def test_top_k_hits_have_no_average_precision():
    ranking = RankedResults(ranked([3] + [0] * 9), np.asarray([[9, 0, 0, 1]]), None)

    assert "same_product_map" not in compute_retrieval_metrics(ranking)
