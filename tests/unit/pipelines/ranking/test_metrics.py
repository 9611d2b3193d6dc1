import numpy as np
import pandas as pd
import pytest

from fb_marketplace.evaluation.retrieval_metrics import NDCG
from fb_marketplace.pipelines.ranking.composed_queries import COMPOSED
from fb_marketplace.pipelines.ranking.judged_candidates import JudgedCandidates
from fb_marketplace.pipelines.ranking.metrics import (
    Alternative,
    evaluate_queries,
    summarize_queries,
)
from fb_marketplace.pipelines.ranking.synthetic_queries import SearchQuery
from fb_marketplace_serving.search.candidates import CandidateSet
from fb_marketplace_serving.search.ranking.ranking_features import FEATURES

RECALL = "recall_at_10"


class ByFirstFeature:
    """Ranks by the first column."""

    def scores(self, features):
        return features[:, 0]


def search(kind, grades, scores, ranks, available, families=None, group="g", product="p"):
    """What a search found, each candidate a family unless told otherwise; fused is as its first source."""
    count = len(grades)
    features = np.zeros((count, len(FEATURES)))
    features[:, 0] = scores
    first = np.array(next(iter(ranks.values())), np.int32)
    pool = CandidateSet(
        np.arange(count),
        {},
        {source: np.array(owner, np.int32) for source, owner in ranks.items()},
        np.where(first > 0, 1 / (60 + first), 0.0),
        np.full(count, -1),
    )
    return JudgedCandidates(
        SearchQuery(kind, product, group, "", None, frozenset()),
        pool,
        features,
        np.array(grades, np.int8),
        np.array(families if families is not None else range(count), np.int32),
        np.array(available),
    )


def value(measured, method, measure, kind="title"):
    (result,) = measured[
        (measured["method"] == method)
        & (measured["measure"] == measure)
        & (measured["kind"] == kind)
    ]["value"]
    return result


def discounted(*grades):
    """Gains of 2^g - 1 over log2(rank + 1)."""
    return sum((2**grade - 1) / np.log2(rank + 1) for rank, grade in enumerate(grades, start=1))


FOUR = {"grades": [0, 3, 1, 2], "available": [3, 2, 1, 1]}
"""Four candidates; of the gallery's seven families, one of grade 1 was not found."""


def test_each_method_has_its_own_order():
    result = search(
        "title", **FOUR, scores=[1, 4, 2, 3], ranks={"bm25": [1, 2, 3, 0], "text": [4, 3, 2, 1]}
    )

    measured = evaluate_queries([result], ByFirstFeature())

    ideal = discounted(3, 2, 1, 1)
    for method, gained in {
        "ranker": discounted(3, 2, 1, 0),
        "fusion": discounted(0, 3, 1, 2),
        "bm25": discounted(0, 3, 1),
        "text": discounted(2, 1, 3, 0),
    }.items():
        assert value(measured, method, NDCG) == pytest.approx(gained / ideal)
    assert set(measured["method"]) == {"ranker", "fusion", "random", "bm25", "text"}


def test_source_without_the_listing_has_no_recall():
    result = search(
        "title", **FOUR, scores=[1, 4, 2, 3], ranks={"bm25": [1, 0, 3, 2], "text": [4, 3, 2, 1]}
    )

    measured = evaluate_queries([result], ByFirstFeature())

    assert value(measured, "bm25", RECALL) == 0
    assert value(measured, "text", RECALL) == value(measured, "ranker", RECALL) == 1


def test_only_first_ten_hits_count():
    grades = [0] * 10 + [3]
    result = search(
        "title",
        grades,
        scores=np.arange(11)[::-1],
        ranks={"bm25": [11, *range(1, 10), 10], "text": range(1, 12)},
        available=[10, 0, 0, 1],
    )

    measured = evaluate_queries([result], ByFirstFeature())

    assert value(measured, "ranker", RECALL) == value(measured, "ranker", NDCG) == 0
    assert value(measured, "bm25", RECALL) == 1
    assert value(measured, "bm25", NDCG) == pytest.approx(discounted(*[0] * 9, 3) / discounted(3))


def test_family_is_one_hit():
    grades, families = [1] * 10 + [3], [0] * 10 + [1]
    result = search(
        "title",
        grades,
        scores=np.arange(11)[::-1],
        ranks={"bm25": range(1, 12)},
        available=[0, 1, 0, 1],
        families=families,
    )

    measured = evaluate_queries([result], ByFirstFeature())

    assert value(measured, "ranker", RECALL) == 1
    assert value(measured, "ranker", NDCG) == pytest.approx(discounted(1, 3) / discounted(3, 1))


def test_random_order_is_drawn_per_query():
    result = [
        search("title", [0] * 19 + [3], range(20), {"bm25": range(1, 21)}, [19, 0, 0, 1])
        for _ in range(100)
    ]

    one, same = (evaluate_queries(result, ByFirstFeature()) for _ in range(2))

    pd.testing.assert_frame_equal(one, same)
    scores = one[(one["method"] == "random") & (one["measure"] == RECALL)]["value"]
    assert 0.3 < scores.mean() < 0.7  # half of twenty are looked at


def test_values_have_query_and_method():
    result = search(
        "short", **FOUR, scores=[0] * 4, ranks={"bm25": [1] * 4}, product="q", group="h"
    )

    measured = evaluate_queries([result], ByFirstFeature())

    assert set(map(tuple, measured[["kind", "product_id", "group"]].to_numpy())) == {
        ("short", "q", "h")
    }
    assert len(measured) == 4 * 2


@pytest.fixture
def two_kinds():
    """Three searches by words and one by a photo: who ranks best, and by how much, is plain."""

    def title(number, ranker, words, meaning):
        """One good listing of twenty; each method has it at a rank of its own."""

        def pos(rank):
            ranks = np.delete(np.arange(1, 21), rank - 1)
            return np.concatenate([[rank], ranks])

        return search(
            "title",
            [3] + [0] * 19,
            scores=-pos(ranker),
            ranks={"bm25": pos(words), "text": pos(meaning)},
            available=[19, 0, 0, 1],
            product=f"p{number}",
            group=f"g{number}",
        )

    photo = search(
        "photo", [3, 0], [2, 1], {"image": [1, 2]}, [1, 0, 0, 1], product="p0", group="g0"
    )
    result = [title(0, 1, 1, 3), title(1, 1, 7, 1), title(2, 3, 12, 7), photo]
    return evaluate_queries(result, ByFirstFeature())


def test_means_are_by_kind_and_overall(two_kinds, measuring):
    output = summarize_queries(two_kinds, measuring)

    assert output.keys() == {"title", "photo", "all"}
    ranker = {kind: output[kind][NDCG]["methods"]["ranker"] for kind in output}
    assert ranker["title"]["value"] == pytest.approx((1 + 1 + 1 / 2) / 3, abs=1e-4)
    assert ranker["photo"]["value"] == 1
    assert ranker["all"]["value"] == pytest.approx(3.5 / 4, abs=1e-4)
    assert [ranker[kind]["cases"] for kind in output] == [3, 1, 4]
    assert ranker["all"]["groups"] == 3
    assert ranker["title"]["low"] < ranker["title"]["value"] < ranker["title"]["high"]
    recall = output["title"][RECALL]["methods"]
    assert recall["bm25"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert recall["ranker"]["value"] == recall["text"]["value"] == 1


def test_best_source_has_the_highest_mean(two_kinds, measuring):
    output = summarize_queries(two_kinds, measuring)["title"]

    assert output[NDCG]["best_source"] == output[RECALL]["best_source"] == "text"
    assert output[NDCG]["gains"].keys() == {"fusion", "text", "bm25"}


def test_gain_is_paired_and_relative(two_kinds, measuring):
    output = summarize_queries(two_kinds, measuring)["title"][NDCG]

    ranker, meaning = (1 + 1 + 1 / 2) / 3, (1 / 2 + 1 + 1 / 3) / 3
    gain = output["gains"]["text"]
    assert gain["value"] == pytest.approx(ranker - meaning, abs=1e-4)
    assert gain["share"] == pytest.approx(ranker / meaning - 1, abs=1e-4)
    # Each of the three gains something or nothing, and none loses.
    assert gain["low"] == 0
    assert gain["cases"] == 3


def test_only_common_sources_are_compared(two_kinds, measuring):
    output = summarize_queries(two_kinds, measuring)

    assert output["all"][NDCG]["best_source"] is None
    assert output["all"][NDCG]["methods"].keys() == {"ranker", "fusion", "random"}
    assert output["all"][NDCG]["gains"].keys() == {"fusion"}
    assert output["photo"][NDCG]["best_source"] == "image"
    by_words = two_kinds[two_kinds["kind"] == "title"].assign(kind="short")
    asked_twice = pd.concat([two_kinds[two_kinds["kind"] == "title"], by_words])
    assert summarize_queries(asked_twice, measuring)["all"][NDCG]["best_source"] == "text"


def test_gain_over_zero_has_no_ratio(measuring):
    """The listing is the first by the ranker, and by the words the eleventh."""
    result = search(
        "title",
        [0] * 10 + [3],
        scores=np.arange(11),
        ranks={"bm25": range(1, 12)},
        available=[10, 0, 0, 1],
    )

    output = summarize_queries(evaluate_queries([result], ByFirstFeature()), measuring)["title"]

    for measure in (NDCG, RECALL):
        for name in ("fusion", "bm25"):
            assert output[measure]["gains"][name]["value"] == 1
            assert output[measure]["gains"][name]["share"] is None


def test_recall_of_composed_queries_is_the_share_of_relevant_listings():
    result = search(
        COMPOSED,
        [0, 3, 2, 0],
        scores=[4, 3, 2, 1],
        ranks={"bm25": [1, 2, 3, 4]},
        available=[9, 0, 3, 1],
    )

    measured = evaluate_queries([result], ByFirstFeature())

    assert value(measured, "ranker", RECALL, COMPOSED) == pytest.approx(2 / 4)


def test_recall_of_composed_queries_counts_ten_relevant_listings_at_most():
    result = search(
        COMPOSED, [2] * 12, scores=range(12), ranks={"bm25": [0] * 12}, available=[0, 0, 30, 0]
    )

    assert value(evaluate_queries([result], ByFirstFeature()), "ranker", RECALL, COMPOSED) == 1


def test_alternatives_are_compared_on_the_same_queries(measuring):
    whole = search(COMPOSED, [2, 0], scores=[2, 1], ranks={"bm25": [1, 2]}, available=[5, 0, 1, 0])
    part = search(COMPOSED, [2, 0], scores=[1, 2], ranks={"bm25": [1, 2]}, available=[5, 0, 1, 0])

    measured = evaluate_queries(
        [whole], ByFirstFeature(), {"words_only": Alternative([part], ByFirstFeature())}
    )

    assert value(measured, "ranker", NDCG, COMPOSED) == 1
    assert value(measured, "words_only", NDCG, COMPOSED) == pytest.approx(1 / np.log2(3))
    summary = summarize_queries(measured, measuring)[COMPOSED][NDCG]
    assert summary["gains"]["words_only"]["value"] == pytest.approx(1 - 1 / np.log2(3), abs=1e-4)
    assert summary["methods"]["words_only"]["cases"] == 1
