from support.builders.small_search import ranker

from fb_marketplace.pipelines.ranking.served.evaluate import evaluate_served
from fb_marketplace.pipelines.ranking.synthetic_queries import sample_queries
from fb_marketplace.pipelines.ranking.train_relevance import word_queries
from fb_marketplace.skipping import Skipped
from fb_marketplace_serving.search.ranking.ranker import Ranker


def evaluate(market, weighing, model, few, parameters):
    corpus, trees = market.corpus("test", weighing), Ranker.from_bytes(ranker())
    return evaluate_served(market, corpus, trees, model, few, parameters)


def test_every_block_is_measured_and_bounded(
    stored_market, weighing, model, store_file, few, relevance_parameters
):
    bounded = few.model_copy(update={"max_typos": 7})
    stored = store_file("model", model)
    metrics, cases = evaluate(stored_market, weighing, stored, bounded, relevance_parameters)

    assert metrics.keys() == {"relevance", "typos", "paraphrases"}
    assert metrics["typos"]["typos"] == 7
    assert metrics["paraphrases"]["all"]["cases"] == 7
    assert metrics["relevance"]["precision"]["low"] <= metrics["relevance"]["precision"]["value"]
    assert not cases.duplicated(["kind", "product_id", "measure"]).any()


def test_without_a_threshold_the_reason_is_given(
    stored_market, weighing, few, relevance_parameters
):
    few = few.model_copy(update={"max_typos": 3})
    metrics, cases = evaluate(
        stored_market, weighing, Skipped("too few"), few, relevance_parameters
    )

    assert metrics["relevance"] == {"not_measured": "too few"}
    assert metrics["typos"]["typos"] == 3
    assert set(cases["measure"]) == {"typo_recall_at_10", "paraphrase_recall_at_10"}


def test_sample_of_a_market_with_fewer_listings_is_mostly_the_same(stored_market):
    queries = list(word_queries(stored_market.products, stored_market.splits, "test", 0))
    sample = sample_queries(queries, 10, 0)
    later = sample_queries([query for query in queries if query != sample[0]], 10, 0)

    assert len(set(sample) & set(later)) == 9
    assert sample_queries(queries[::-1], 10, 0) == sample
