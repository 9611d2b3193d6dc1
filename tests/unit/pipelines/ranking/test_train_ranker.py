from dataclasses import replace

import pandas as pd
import pytest
from support.builders.stored_market import open_stored

from fb_marketplace.pipelines.ranking import lambdamart
from fb_marketplace.pipelines.ranking import train_ranker as learning
from fb_marketplace.pipelines.ranking.click_log import join_clicks
from fb_marketplace.pipelines.ranking.composed_queries import COMPOSED
from fb_marketplace.pipelines.ranking.evaluation_corpus import NO_VECTORS
from fb_marketplace.pipelines.ranking.synthetic_queries import KINDS
from fb_marketplace.pipelines.ranking.train_ranker import evaluate_ranking, train_ranker
from fb_marketplace.schemas.retrieval import RankingQueryMetrics
from fb_marketplace.skipping import Skipped
from fb_marketplace_serving.search.ranking.ranker import Ranker
from fb_marketplace_serving.search.ranking.ranking_features import COMPOSED_FEATURES, FEATURES

NO_CLICKS = join_clicks([], []).feedback


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """Two threads wait for each other by spinning: on a busy machine that takes a hundred times as long."""
    monkeypatch.setattr(lambdamart, "openmp_threads", lambda: 1)


@pytest.fixture(scope="module")
def quick(growing):
    return growing.model_copy(update={"num_boost_round": 3})


@pytest.fixture(scope="module")
def trained(stored_market, weighing, quick):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lambdamart, "openmp_threads", lambda: 1)
        return train_ranker(stored_market, weighing, NO_CLICKS, quick)


@pytest.fixture
def measured(stored_market, trained, weighing, measuring, relevance_parameters, store_file):
    few = measuring.model_copy(update={"bootstrap_samples": 20})
    return evaluate_ranking(
        stored_market,
        store_file("ranker", trained.ranker),
        store_file("without", trained.ranker_without_composed),
        Skipped("no searches"),
        weighing,
        few,
        relevance_parameters,
    )


def test_paraphrases_are_not_used_for_training(stored_market, weighing, quick, monkeypatch):
    taught = []
    take = learning.ranking_dataset
    monkeypatch.setattr(
        learning, "ranking_dataset", lambda result: taught.append(result) or take(result)
    )

    card = train_ranker(stored_market, weighing, NO_CLICKS, quick).card

    dataset, without = taught
    assert {item.query.kind for item in dataset} == {*KINDS, COMPOSED} - {"paraphrase"}
    assert {item.query.kind for item in without} == set(KINDS) - {"paraphrase"}
    every = stored_market.judge_queries("validation", weighing, 1000, 0)
    judged = every.all + every.sold
    paraphrases = sum(item.query.kind == "paraphrase" for item in judged)
    assert card["searches"] == len(dataset) == len(judged) - paraphrases
    assert paraphrases > 0
    assert card["candidates"] == sum(len(item.candidates) for item in dataset)


def test_training_data_is_of_validation_split(
    stored_market, market_tables, trained, weighing, quick, tmp_path
):
    sides = dict(
        zip(market_tables.splits["product_id"], market_tables.splits["split"], strict=True)
    )
    elsewhere = market_tables.products["product_id"].map(sides) != "validation"
    other = market_tables.products.copy()
    other.loc[elsewhere, "title"] = "blue bike"
    other.loc[elsewhere, "price"] = 1.0

    changed = train_ranker(
        open_stored(tmp_path, market_tables._replace(products=other)), weighing, NO_CLICKS, quick
    )

    assert changed == trained


def test_ranker_can_be_served(trained):
    assert Ranker.from_bytes(trained.ranker)
    assert trained.card["trees"] >= 1


def test_metrics_are_of_test_split(measured, market_tables):
    here = market_tables.splits[market_tables.splits["split"] == "test"]

    assert set(measured.queries["product_id"]) == set(here["product_id"])
    assert set(measured.queries["group"]) == set(here["group"])
    assert measured.metrics["listings"] == here["product_id"].nunique()
    assert measured.metrics["text_to_image"]["photos"] == here["image_id"].notna().sum()


def test_each_query_is_evaluated_once_per_method(measured):
    RankingQueryMetrics.validate(measured.queries)
    searches = measured.queries[measured.queries["method"] != "served"]

    assert set(searches["kind"]) == {*KINDS, COMPOSED}
    assert measured.metrics["searches"].keys() == {*KINDS, "all"}
    assert measured.metrics["sold"].keys() == {*KINDS, "all"}
    everywhere = {"ranker", "fusion", "random"}
    by_words, by_photo = {"bm25", "text", "text_to_image"}, {"image"}
    for kind, sources in {
        "title": by_words,
        "paraphrase": by_words,
        "photo": by_photo,
        "both": by_words | by_photo | {"multimodal"},
    }.items():
        assert set(searches[searches["kind"] == kind]["method"]) == everywhere | sources


def test_composed_queries_are_compared_with_their_parts(measured):
    composed = measured.metrics["composed"]

    baselines = {"without_composed", "photo_only", "words_only"}
    for measure in ("ndcg_at_10", "recall_at_10"):
        assert baselines <= composed[measure]["methods"].keys()
        assert baselines <= composed[measure]["gains"].keys()
    queries = measured.queries[measured.queries["kind"] == COMPOSED]
    ndcg = composed["ndcg_at_10"]["methods"]["ranker"]
    assert ndcg["cases"] == queries["product_id"].nunique()


def test_ranker_without_composed_ignores_their_features(trained):
    used = {
        name: {
            feature
            for line in model.decode().splitlines()
            if line.startswith("split_feature=")
            for feature in map(int, line.removeprefix("split_feature=").split())
        }
        for name, model in trained._asdict().items()
        if name != "card"
    }

    added = {FEATURES.index(name) for name in COMPOSED_FEATURES}
    assert used["ranker"] & added
    assert not used["ranker_without_composed"] & added


def test_titles_are_evaluated_for_listings_with_photo(measured, market_tables):
    here = market_tables.splits[market_tables.splits["split"] == "test"].dropna(subset=["image_id"])

    recall = measured.metrics["text_to_image"]["recall_at_10"]
    assert recall["cases"] == here["product_id"].nunique()


def test_evaluation_is_deterministic(
    measured, stored_market, trained, weighing, measuring, relevance_parameters, store_file
):
    few = measuring.model_copy(update={"bootstrap_samples": 20})

    again = evaluate_ranking(
        stored_market,
        store_file("again", trained.ranker),
        store_file("without_again", trained.ranker_without_composed),
        Skipped("no searches"),
        weighing,
        few,
        relevance_parameters,
    )

    pd.testing.assert_frame_equal(again.queries, measured.queries)
    assert again.metrics == measured.metrics


def test_ranker_of_a_market_without_photos_is_trained_on_words(
    stored_market, weighing, quick, measuring, relevance_parameters, store_file
):
    market = replace(
        stored_market,
        splits=stored_market.splits.assign(image_id=None).drop_duplicates("product_id"),
        duplicate_groups=stored_market.duplicate_groups.iloc[:0],
        photos=NO_VECTORS,
        projected_photos=NO_VECTORS,
        probabilities=NO_VECTORS,
        photo_products={},
        labels=(),
    )

    trained = train_ranker(market, weighing, NO_CLICKS, quick)
    ranker = store_file("ranker", trained.ranker)
    measured = evaluate_ranking(
        market, ranker, ranker, Skipped("no searches"), weighing, measuring, relevance_parameters
    )

    assert not {"photo", "both"} & set(measured.queries["kind"])
    assert measured.metrics["text_to_image"] == {"photos": 0}
