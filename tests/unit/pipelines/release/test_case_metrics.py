import io

import numpy as np
import pandas as pd
import pytest

from fb_marketplace.pipelines.release.case_metrics import NAMES, collect_case_metrics
from fb_marketplace.pipelines.release.current_release import CASE_METRICS
from fb_marketplace.skipping import Skipped

LABELS = ["Arts", "Home"]
ARTS, HOME = [0.9, 0.1], [0.2, 0.8]


@pytest.fixture
def table():
    photos = pd.DataFrame(
        {
            "image_id": ["i2", "i1", "i3"],
            "product_id": ["p", "p", "q"],
            "group": ["g", "g", "h"],
            "split": ["test", "test", "validation"],
            "category": ["Arts", "Arts", "Home"],
            "probabilities": [ARTS, HOME, HOME],
        }
    )
    listings = pd.DataFrame(
        {
            "product_id": ["p", "r", "q"],
            "group": ["g", "k", "h"],
            "split": ["test", "test", "validation"],
            "category": ["Arts", "Home", "Home"],
            "by_photos": [HOME, None, HOME],
            "by_text": [ARTS, ARTS, HOME],
            "probabilities": [ARTS, HOME, HOME],
        }
    )
    served = pd.DataFrame(
        {
            "gallery": ["all_photos"] * 3 + ["sampled_photos"] * 3,
            "measure": [
                "same_product_recall_at_1",
                "same_product_recall_at_10",
                "ndcg_at_10",
            ]
            * 2,
            "image_id": ["i1"] * 6,
            "group": ["g"] * 6,
            "value": [0.0, 1.0, 0.4, 1.0, 1.0, 0.6],
        }
    )
    searches = pd.DataFrame(
        [
            ("title", "p", "g", "ranker", "ndcg_at_10", 0.7),
            ("photo", "p", "g", "ranker", "ndcg_at_10", 0.5),
            ("title", "p", "g", "ranker", "recall_at_10", 1.0),
            ("title", "p", "g", "fusion", "ndcg_at_10", 0.2),
            ("composed", "p", "g", "ranker", "ndcg_at_10", 0.3),
            ("composed", "p", "g", "ranker", "recall_at_10", 0.25),
            ("composed", "p", "g", "words_only", "recall_at_10", 0.1),
            ("one_word", "p", "g", "served", "precision", 0.9),
            ("one_word", "p", "g", "served", "title_recall", 0.8),
            ("one_word", "p", "g", "served", "sorted_precision_at_10", 0.6),
            ("short", "p", "g", "served", "typo_recall_at_10", 1.0),
            ("respaced", "p", "g", "served", "paraphrase_recall_at_10", 0.0),
        ],
        columns=["kind", "product_id", "group", "method", "measure", "value"],
    )
    gathered = collect_case_metrics(photos, listings, served, searches, LABELS)
    return pd.read_parquet(io.BytesIO(gathered))


def rows(table, measure):
    part = table[table["measure"] == measure]
    return list(zip(part["case"], part["group_id"], part["value"], strict=True))


def test_each_metric_has_a_row_per_test_case(table):
    assert tuple(table.columns) == CASE_METRICS
    assert set(table["measure"]) == set(NAMES)
    assert not {"i3", "q"} & set(table["case"])


def test_photo_and_listing_cases_are_right_or_wrong(table):
    assert rows(table, "photo_top1") == [("i1", "g", 0.0), ("i2", "g", 1.0)]
    assert rows(table, "listing_with_text_top1") == [("p", "g", 1.0), ("r", "k", 1.0)]


def test_listing_without_photos_has_no_photo_case(table):
    assert rows(table, "listing_top1") == [("p", "g", 0.0)]


def test_retrieval_cases_have_recall(table):
    assert rows(table, "recall_at_1") == [("i1", "g", 0.0)]
    assert rows(table, "recall_at_10") == [("i1", "g", 1.0)]
    assert rows(table, "sampled_recall_at_1") == [("i1", "g", 1.0)]
    assert table["value"].dtype == np.float64


def test_ranking_cases_have_ndcg_by_kind(table):
    assert rows(table, "search_ndcg_at_10") == [("photo/p", "g", 0.5), ("title/p", "g", 0.7)]


def test_market_without_test_cases_has_an_empty_table():
    missing = Skipped("no photos")

    table = pd.read_parquet(io.BytesIO(collect_case_metrics(*[missing] * 5)))

    assert table.empty
    assert tuple(table.columns) == CASE_METRICS


def test_composed_searches_have_a_metric_of_their_own(table):
    assert rows(table, "search_composed_recall_at_10") == [("composed/p", "g", 0.25)]
    assert rows(table, "search_precision") == [("one_word/p", "g", 0.9)]
