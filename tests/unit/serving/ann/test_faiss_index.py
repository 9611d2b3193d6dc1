"""Each kind of index against comparing with every row."""

import gc
import weakref

import numpy as np
import pytest
from support.builders.brute_force import APPROXIMATE, COUNT, brute_force, drawn

from fb_marketplace_serving.ann import knn
from fb_marketplace_serving.ann.build import build_index, flat_index, search_settings
from fb_marketplace_serving.ann.faiss_index import KINDS, FaissIndex
from fb_marketplace_serving.ann.index import Index


def test_search_by_each_kind_equals_brute_force(index, matrix, queries):
    for query in queries:
        rows, distances = index.search(query, 10)

        expected, expected_distances = brute_force(matrix, query, 10)
        assert rows.tolist() == expected.tolist()
        np.testing.assert_allclose(distances, expected_distances, atol=1e-5)


def test_distances_of_each_kind_are_bit_identical(indexes_by_kind, queries):
    names = [""] * COUNT
    answers = {
        kind: Index(indexes_by_kind[kind], names, names).search(queries, 10) for kind in KINDS
    }

    for kind in APPROXIMATE:
        np.testing.assert_array_equal(answers[kind].distances, answers["flat"].distances)


def test_search_in_batch_equals_single_queries(index, queries):
    batch = index.search(queries, 10)

    for place, query in enumerate(queries):
        alone = index.search(query, 10)
        np.testing.assert_array_equal(batch.rows[place], alone.rows)
        np.testing.assert_array_equal(batch.distances[place], alone.distances)


def test_search_finds_stored_vector_at_distance_zero(index, matrix):
    result = index.search(matrix[:200], 1)

    assert result.distances.max() == 0
    assert result.rows[:, 0].tolist() == list(range(200))


# Of a graph with many copies of one vector not all can be reached.
@pytest.mark.parametrize(
    ("kind", "copies"),
    [(kind, copies) for kind in KINDS for copies in (3, 14, 60) if (kind, copies) != ("hnsw", 60)],
)
def test_ties_at_cutoff_return_lowest_rows(kind, copies):
    matrix = drawn(2, 2000)
    same = np.random.default_rng(3).choice(2000, copies, replace=False)
    matrix[same] = matrix[same[0]]
    vectors = build_index(kind, flat_index([matrix]))
    vectors.set_search_params(list(search_settings(vectors))[-1])

    for k in (1, copies - 1, copies):
        rows = knn.nearest_neighbors(vectors, matrix[same[:1]], k)[0][0]
        assert rows.tolist() == brute_force(matrix, matrix[same[0]], k)[0].tolist()


@pytest.mark.parametrize("keep", [None, np.arange(0, 4000, 2), np.arange(3000)])
@pytest.mark.parametrize("kind", KINDS)
def test_thousands_of_copies_are_searched_once_in_row_order(
    kind, keep, few_rows_exact, monkeypatch
):
    matrix = drawn(2, 4000)
    matrix[500:3500] = matrix[500]
    vectors = build_index(kind, flat_index([matrix]))
    calls, search = [], FaissIndex.top_with_distances
    monkeypatch.setattr(
        FaissIndex, "top_with_distances", lambda *values: calls.append(1) or search(*values)
    )

    rows = Index(vectors, [""] * 4000, [""] * 4000).search(matrix[500], 12, keep).rows

    expected = np.arange(500, 3500) if keep is None else keep[(keep >= 500) & (keep < 3500)]
    assert rows.tolist() == expected[:12].tolist()
    assert 1 <= len(calls) <= 4


def test_copies_with_faiss_rounding_errors_are_found(monkeypatch):
    matrix = np.repeat(drawn(2, 4), 500, axis=0)
    vectors = build_index("ivf_sq8", flat_index([matrix]))
    monkeypatch.setattr(FaissIndex, "within", lambda *_: np.empty(0, np.int64))

    rows = knn.nearest_neighbors(vectors, matrix[:1], 12)[0][0]

    assert rows.tolist() == list(range(12))


@pytest.mark.parametrize("kind", KINDS)
def test_identical_vectors_are_returned_in_row_order(kind):
    vectors = build_index(kind, flat_index([np.ones((1000, 4), np.float32)]))

    rows = knn.nearest_neighbors(vectors, np.ones((1, 4), np.float32), 12)[0][0]

    assert rows.tolist() == list(range(12))


def test_search_can_return_all_rows(index, matrix, queries):
    rows, distances = index.search(queries[0], COUNT + 5)

    assert rows.tolist() == brute_force(matrix, queries[0], COUNT)[0].tolist()
    assert (np.diff(distances) >= 0).all()


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_higher_search_effort_finds_no_less(kind, matrix, queries):
    vectors = build_index(kind, flat_index([matrix]))
    expected = [set(brute_force(matrix, query, 10)[0]) for query in queries]
    result = []
    for effort in search_settings(vectors):
        vectors.set_search_params(effort)
        rows = knn.nearest_neighbors(vectors, queries, 10)[0]
        result.append(sum(len(set(a) & b) for a, b in zip(rows, expected, strict=True)))

    assert result[0] <= result[-1] == 10 * len(queries)
    # A graph of so few finds all at once, among the many that it has compared exactly.
    assert result[0] < result[-1] or kind == "hnsw"


@pytest.mark.parametrize("k", [100, 250])
@pytest.mark.parametrize("kind", APPROXIMATE)
def test_setting_for_top_10_keeps_recall_at_larger_k(kind, k, matrix, queries):
    vectors = build_index(kind, flat_index([matrix]))
    choosing = drawn(5, 300)
    expected = [brute_force(matrix, query, 10)[0] for query in choosing]
    for effort in search_settings(vectors):
        vectors.set_search_params(effort)
        if share_found(vectors, choosing, 10, expected) >= 0.995:
            break

    assert effort != list(search_settings(vectors))[-1]
    expected = [brute_force(matrix, query, k)[0] for query in queries]
    assert share_found(vectors, queries, k, expected) >= 0.985


def share_found(vectors, queries, k, expected):
    rows = knn.nearest_neighbors(vectors, queries, k)[0]
    return np.mean([len(set(a) & set(b)) / k for a, b in zip(rows, expected, strict=True)])


@pytest.fixture(scope="module")
def leaning():
    """Vectors of 64 numbers that lie mostly in the first few: a graph of them keeps fewer axes."""
    random = np.random.default_rng(11)
    spread = np.exp(-np.arange(64) / 6)
    return (random.normal(size=(4000, 64)) * spread + 3).astype(np.float32)


def test_hnsw_keeps_axes_of_the_vectors(leaning, matrix):
    assert build_index("hnsw", flat_index([leaning])).settings["axes"] == 16
    assert build_index("hnsw", flat_index([matrix])).settings["axes"] == matrix.shape[1]


def test_hnsw_with_fewer_axes_ranks_by_all_axes(leaning):
    random = np.random.default_rng(12)
    queries = leaning[:100] + random.normal(scale=0.05, size=(100, 64)).astype(np.float32)
    vectors = build_index("hnsw", flat_index([leaning]))
    vectors.set_search_params({"efSearch": 128})
    opened = FaissIndex.read(vectors.write())

    rows, distances = knn.nearest_neighbors(opened, queries, 10)

    result = 0
    for place, query in enumerate(queries):
        expected, exact = brute_force(leaning, query, 10)
        result += len(set(rows[place]) & set(expected))
        np.testing.assert_allclose(distances[place][0], exact[0], rtol=1e-5)
    assert result >= 990


def test_hnsw_with_fewer_axes_searches_deeper(leaning):
    vectors = build_index("hnsw", flat_index([leaning]))
    vectors.set_search_params({"efSearch": 48})

    rows = knn.nearest_neighbors(vectors, leaning[:20], 150)[0]

    expected = [set(brute_force(leaning, query, 150)[0]) for query in leaning[:20]]
    assert sum(len(set(a) & b) for a, b in zip(rows, expected, strict=True)) > 0.98 * 20 * 150


def test_index_is_freed_at_once(matrix):
    index = FaissIndex(flat_index([matrix]))
    index.nearest(matrix[:1], 1)
    reference = weakref.ref(index)

    gc.disable()
    try:
        del index
        assert reference() is None
    finally:
        gc.enable()
