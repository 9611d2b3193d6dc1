import numpy as np
import pytest

from fb_marketplace.pipelines.ranking.served.figures import plot_threshold
from fb_marketplace.pipelines.ranking.train_relevance import (
    NONSENSE,
    choose_threshold,
    precision_recall_curve,
    relevance_queries,
    train_relevance,
    word_queries,
)
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace_serving.search.ranking.relevance import RelevanceModel


@pytest.fixture(scope="module")
def trained(stored_market, weighing, relevance_parameters):
    return train_relevance(stored_market, weighing, relevance_parameters)


def test_model_is_the_same_each_time(stored_market, weighing, relevance_parameters, trained):
    again = train_relevance(stored_market, weighing, relevance_parameters)

    assert again == trained
    assert RelevanceModel.from_bytes(trained.model).threshold == trained.card["threshold"]


def test_too_few_searches_train_no_model(stored_market, weighing, relevance_parameters):
    many = relevance_parameters.model_copy(update={"min_queries": 10_000})

    with pytest.raises(InsufficientDataError, match="10000 are needed"):
        train_relevance(stored_market, weighing, many)


def test_searches_are_of_one_split_and_bounded(stored_market, relevance_parameters):
    few = relevance_parameters.model_copy(update={"max_queries": 30})
    queries = relevance_queries(stored_market, "validation", few)
    splits = stored_market.splits
    members = set(splits.loc[splits["split"] == "validation", "product_id"])

    assert len(queries) == 33
    assert {query.product_id for query in queries} <= members | {""}
    assert [query.kind for query in queries].count(NONSENSE) == 3


def test_searches_use_words_of_descriptions(stored_market, relevance_parameters):
    kinds = {
        query.kind for query in relevance_queries(stored_market, "validation", relevance_parameters)
    }

    assert {"title", "short", "one_word", "two_words", "description", NONSENSE} <= kinds


def test_words_are_drawn_from_the_title(stored_market):
    titles = dict(
        zip(stored_market.products["product_id"], stored_market.products["title"], strict=True)
    )
    queries = list(word_queries(stored_market.products, stored_market.splits, "test", 0))

    assert {query.kind for query in queries} == {"one_word", "two_words"}
    for query in queries:
        assert set(query.words.split()) <= set(titles[query.product_id].lower().split())


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(0.5, (0.21, 0.5, 1.0)), (0.6, (0.31, 2 / 3, 1.0)), (1.0, (0.61, 1.0, 1.0))],
)
def test_smallest_threshold_with_the_precision_is_chosen(asked, expected):
    probabilities = np.array([[0.2, 0.3, 0.6, 0.9]])
    relevant = np.array([False, False, False, True])
    weights = np.array([5.0, 0.5, 0.5, 1.0])

    curve = precision_recall_curve(probabilities, relevant, weights, np.zeros(4, np.int64))
    chosen = choose_threshold(curve, asked)

    assert chosen == pytest.approx(expected)


def test_searches_with_many_and_with_few_results_count_the_same():
    searches = np.repeat([7, 9], [100, 2])
    relevant = np.repeat([True, False, True], [100, 1, 1])
    probabilities = np.full((1, 102), 0.7)

    curve = precision_recall_curve(probabilities, relevant, np.ones(102), searches)

    assert {(point.precision, point.recall) for point in curve} == {(0.75, 1.0)}
    assert curve[-1].threshold == 0.7


def test_searches_without_results_have_recall_but_no_precision():
    probabilities, relevant = np.array([[0.9, 0.1]]), np.array([True, True])

    curve = precision_recall_curve(probabilities, relevant, np.ones(2), np.array([0, 1]))

    assert curve[-1] == (0.9, 1.0, 0.5)


def test_repetitions_are_averaged():
    probabilities, relevant = np.array([[0.9, 0.1], [0.9, 0.9]]), np.array([True, False])

    curve = precision_recall_curve(probabilities, relevant, np.ones(2), np.zeros(2, np.int64))

    assert curve[-1] == (0.9, 0.75, 1.0)


def test_threshold_lies_on_the_curve_of_the_card(trained):
    points = {point["threshold"]: point for point in trained.card["curve"]}
    chosen = points[trained.card["threshold"]]

    assert chosen["precision"] == pytest.approx(trained.card["precision"], abs=1e-4)
    assert chosen["recall"] == pytest.approx(trained.card["recall"], abs=1e-4)
    recalls = [point["recall"] for point in trained.card["curve"]]
    assert recalls == sorted(recalls, reverse=True)
    assert plot_threshold(trained.card).startswith(b"\x89PNG")
