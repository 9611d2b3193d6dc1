"""How much an index finds, and how long it takes, measured."""

import numpy as np
import pytest
from support.builders.low_rank_vectors import COUNT, DIMENSION, drawn

from fb_marketplace.ann import recall_benchmark
from fb_marketplace.ann.recall_benchmark import (
    RecallBenchmark,
    estimate_recall,
    evaluate_recall,
    hold_out_queries,
    kth_distances,
    make_recall_queries,
    max_measurable_recall,
    measure_latency,
)
from fb_marketplace_serving.ann.build import build_index, flat_index
from fb_marketplace_serving.ann.faiss_index import FaissIndex


@pytest.fixture(scope="module")
def vectors():
    return FaissIndex(flat_index([drawn(0, COUNT)]))


def test_queries_differ_from_rows_and_keep_their_norm(vectors):
    exam = make_recall_queries(vectors, 300, seed=0)

    assert exam.queries.shape == (300, DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(exam.queries, axis=1), 1, rtol=1e-5)
    separate = 2 - 2 * (exam.queries @ vectors.matrix.T).max(axis=1)
    assert np.mean(separate > 1e-4) > 0.99


def test_queries_depend_on_the_seed(vectors):
    first, same, other = (make_recall_queries(vectors, 50, seed).queries for seed in (0, 0, 1))

    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_copies_of_nearest_row_count_as_found():
    matrix = np.repeat(drawn(2, 4), 50, axis=0)
    vectors = build_index("ivf_sq8", flat_index([matrix]))

    assert evaluate_recall(vectors, make_recall_queries(vectors, 20, 0)).mean == 1


def test_recall_has_a_lower_bound(vectors):
    index = build_index("ivf_rabitq", vectors.exact)
    index.set_search_params({"nprobe": 1})

    few, many = (
        evaluate_recall(index, make_recall_queries(vectors, count, 0)) for count in (20, 2000)
    )

    assert few.lower_bound < few.mean
    assert many.mean - many.lower_bound < few.mean - few.lower_bound


def test_few_rows_give_several_queries_each(vectors):
    few = FaissIndex(flat_index([vectors.matrix[:20]]))

    queries = make_recall_queries(few, 100, 0).queries

    assert queries.shape == (100, DIMENSION)
    assert len(np.unique(queries, axis=0)) > 60


@pytest.mark.parametrize("count", [1, 2, 11])
def test_benchmark_works_on_few_rows(vectors, count):
    few = FaissIndex(flat_index([vectors.matrix[:count]]))

    exam = make_recall_queries(few, 5, 0)

    assert np.isfinite(exam.queries).all()
    assert evaluate_recall(few, exam).mean == 1


def test_radius_is_distance_of_tenth_neighbor(vectors):
    queries = drawn(1, 5)

    every = ((vectors.matrix[np.newaxis] - queries[:, np.newaxis]) ** 2).sum(axis=2)
    np.testing.assert_allclose(kth_distances(vectors, queries), np.sort(every)[:, 9], rtol=1e-5)


def graded(result):
    """Distances of queries that find so many of ten rows, of which the tenth is 1 away."""
    distances = np.where(np.arange(10) < np.array(result)[:, np.newaxis], 0.5, 1.5)
    exam = RecallBenchmark(np.zeros((len(result), 2), np.float32), np.ones(len(result), np.float32))
    return distances.astype(np.float32), exam


def test_recall_is_mean_share_within_radius():
    assert estimate_recall(*graded([10, 5, 0, 9])).mean == pytest.approx(0.6)


def test_few_perfect_queries_do_not_show_full_recall():
    bounds = [estimate_recall(*graded([10] * count)) for count in (1, 2, 100, 1000)]

    assert [item.mean for item in bounds] == [1, 1, 1, 1]
    assert (
        bounds[0].lower_bound
        < bounds[1].lower_bound
        < 0.5
        < bounds[2].lower_bound
        < bounds[3].lower_bound
    )
    assert bounds[3].lower_bound == max_measurable_recall(1000) < 1


def test_lower_bound_seldom_exceeds_true_recall():
    random = np.random.default_rng(0)
    message = [
        estimate_recall(*graded(random.binomial(10, 0.9, size=200))).lower_bound for _ in range(400)
    ]

    assert 0.02 < np.mean(np.array(message) > 0.9) < 0.08


def test_slow_kind_is_timed_briefly(vectors, monkeypatch):
    took = {"quick": 1.0, "as quick": 8.0, "slow": 11.0}
    with_values = dict.fromkeys(took, 0)

    def milliseconds(name, _):
        with_values[name] += 1
        return took[name]

    monkeypatch.setattr(recall_benchmark, "nearest_neighbors", lambda *_: None)
    monkeypatch.setattr(recall_benchmark, "_milliseconds", milliseconds)

    times = measure_latency({name: name for name in took}, drawn(1, 50))

    assert {name: len(item) for name, item in times.items()} == {
        "quick": 150,
        "as quick": 150,
        "slow": 5,
    }
    assert with_values["slow"] == 5
    assert {name: float(np.median(item)) for name, item in times.items()} == took


def test_queries_are_left_out_of_index(vectors):
    count = len(vectors) // 10

    others, benchmark = hold_out_queries(vectors, count, seed=0)

    assert len(others) == len(vectors) - count
    together = np.concatenate([others.matrix, benchmark.queries])
    np.testing.assert_array_equal(np.sort(together, axis=0), np.sort(vectors.matrix, axis=0))
    assert evaluate_recall(others, benchmark).mean == 1


def test_few_rows_are_not_left_out(vectors):
    others, benchmark = hold_out_queries(vectors, len(vectors) // 10 + 1, seed=0)

    assert others is vectors
    assert len(benchmark.queries) == len(vectors) // 10 + 1
