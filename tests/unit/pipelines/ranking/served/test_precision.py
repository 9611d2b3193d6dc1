import numpy as np
import pytest

from fb_marketplace.pipelines.ranking.served.precision import evaluate_precision
from fb_marketplace.pipelines.ranking.train_relevance import judge_relevance, word_queries


@pytest.fixture(scope="module")
def queries(stored_market):
    return list(word_queries(stored_market.products, stored_market.splits, "test", 0))[:12]


def test_precision_is_the_mean_over_all_results_of_each_search(open_search, queries, few):
    served = open_search()
    expected = []
    for query in queries:
        relevant, _ = judge_relevance(served.corpus, query)
        hits = served.search(query.words).hits
        positions = [p for hit in hits for p in (hit.position, *hit.duplicates)]
        expected.append(relevant[positions].mean())

    metrics, cases = evaluate_precision(served, queries, 0.5, few)

    assert metrics["precision"]["value"] == pytest.approx(np.mean(expected), abs=1e-4)
    assert metrics["searches"] == len(queries)
    assert set(cases["measure"]) == {"precision", "title_recall", "sorted_precision_at_10"}
    assert set(cases["method"]) == {"served"}


def test_precision_of_all_listings_is_the_random_baseline(open_search, queries, few):
    metrics, _ = evaluate_precision(open_search(threshold=1e-9), queries, 1e-9, few)

    precision, recall = metrics["precision"], metrics["title_recall"]
    assert precision["value"] == precision["random_baseline"] < 1
    assert recall["value"] == recall["random_baseline"] == 1
    assert metrics["nonsense_with_hits"] == 1


def test_no_results_have_no_precision(open_search, queries, few):
    metrics, cases = evaluate_precision(open_search(threshold=1.0), queries, 1.0, few)

    assert metrics["precision"] is None
    assert metrics["precision_at_10"]["price_asc"] is None
    assert metrics["title_recall"]["value"] == metrics["nonsense_with_hits"] == 0
    assert set(cases["measure"]) == {"title_recall"}


def test_order_by_distance_needs_places(open_search, queries, few):
    orders = evaluate_precision(open_search(), queries, 0.5, few).metrics["precision_at_10"]

    assert orders["distance"] is None
    assert orders["newest"]["cases"] == len(queries)
    assert orders["price_asc"]["to_best_first"] == pytest.approx(
        orders["price_asc"]["value"] / orders["relevance"]["value"], abs=1e-3
    )


def test_market_without_queries_has_no_estimates(open_search, few):
    metrics, cases = evaluate_precision(open_search(), [], 0.5, few)

    assert metrics["searches"] == 0
    assert "precision" not in metrics
    assert cases.empty
    assert not np.isnan(metrics["nonsense_with_hits"])
