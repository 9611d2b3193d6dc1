"""Filtered search by each kind of index."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders.brute_force import COUNT, brute_force, looking_everywhere, nothing_exact

from fb_marketplace_serving.ann import knn
from fb_marketplace_serving.ann.faiss_index import KINDS
from fb_marketplace_serving.ann.index import Index


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01, 0.001])
def test_filtered_search_returns_nearest_kept_rows(index, matrix, queries, share, few_rows_exact):
    keep = np.random.default_rng(4).random(COUNT) < share

    for query in queries[:20]:
        expected = brute_force(matrix, query, 10, keep)[0].tolist()
        assert index.search(query, 10, keep).rows.tolist() == expected
        assert index.search(query, 10, np.flatnonzero(keep)).rows.tolist() == expected


@pytest.mark.parametrize("quantile", [0.3, 0.6, 0.95])
def test_filter_of_distant_rows_returns_nearest_of_them(index, matrix, quantile, few_rows_exact):
    query = matrix[7]
    distances = ((matrix - query) ** 2).sum(axis=1)
    keep = distances > np.quantile(distances, quantile)

    # The hardest case: nothing of what the index is set to look at may be given.
    expected = brute_force(matrix, query, 10, keep)[0].tolist()
    assert index.search(query, 10, keep).rows.tolist() == expected


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_random_filter_returns_nearest_kept_rows(data):
    count = data.draw(st.integers(1, 400))
    random = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    # Few different numbers, so that there are ties.
    matrix = random.integers(0, 3, size=(count, 3)).astype(np.float32)
    keep = random.random(count) < data.draw(st.sampled_from([0.0, 0.02, 0.2, 0.6, 0.95, 1.0]))
    k = data.draw(st.integers(1, 70))
    vectors = looking_everywhere(data.draw(st.sampled_from(KINDS)), matrix)
    query = random.integers(0, 3, size=3).astype(np.float32)

    with nothing_exact():
        rows, distances = Index(vectors, [""] * count, [""] * count).search(query, k, keep)

    expected, expected_distances = brute_force(matrix, query, k, keep)
    assert len(rows) == len(set(rows.tolist())) == min(k, keep.sum())
    assert keep[rows].all()
    if vectors.kind != "hnsw":  # A graph may lose what is among many copies.
        assert rows.tolist() == expected.tolist()
        np.testing.assert_allclose(distances, expected_distances)


def test_limit_above_kept_rows_returns_all_kept(index, queries):
    keep = np.zeros(COUNT, bool)
    keep[[5, 900, 17]] = True

    assert sorted(index.search(queries[0], 10, keep).rows.tolist()) == [5, 17, 900]
    assert index.search(queries[:2], 10, keep).rows.shape == (2, 3)


def test_empty_filter_returns_nothing(index, queries):
    assert index.search(queries[0], 5, np.zeros(COUNT, bool)).rows.shape == (0,)
    assert index.search(queries[:2], 5, []).distances.shape == (2, 0)


def test_duplicate_row_in_filter_is_returned_once(index, matrix):
    assert index.search(matrix[3], 5, [9, 3, 3, 9]).rows.tolist() == [3, 9]


@pytest.mark.parametrize(
    "values", [{9, 3, 2000}, [2000, 9, 3], np.uint64([3, 9, 2000]), np.int16([2000, 3, 9, 3])]
)
def test_row_filter_accepts_any_order_and_integer_type(index, matrix, values):
    assert index.search(matrix[3], 1, values).rows.tolist() == [3]
    assert sorted(index.search(matrix[3], 5, values).rows.tolist()) == [3, 9, 2000]


@pytest.mark.parametrize("count", [30, 2000])
def test_mask_of_many_rows_equals_row_list(count):
    values = np.random.default_rng(0).integers(COUNT, size=count)

    assert knn.filter_to_rows(values, COUNT).tolist() == sorted(set(values.tolist()))


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (np.ones(COUNT - 1, bool), r"\(2999,\).*bool.*\(3000,\)"),
        ([0, COUNT], r"\b0 to 3,000\b.*\b0 to 2,999\b"),
        ([-1], "-1 to -1"),
        ([0.5], "float64"),
        (np.ones((2, COUNT), bool), "bool"),
        (np.empty(0, bool), r"bool.*\(0,\)"),
        (np.ones(COUNT, np.uint8), "uint8.*bool"),
        ({0.5, 1.0}, "float64"),
        (np.array([2**64 - 1], np.uint64), "18,446,744,073,709,551,615"),
    ],
    ids=["short", "high", "negative", "float", "2d", "empty", "uint8", "set", "uint64"],
)
def test_invalid_filter_is_rejected(index, queries, keep, message):
    with pytest.raises(ValueError, match=message):
        index.search(queries[0], 5, keep)
