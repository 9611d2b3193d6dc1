import io

import numpy as np
import pandas as pd
import pytest

from fb_marketplace.pipelines.release.case_metrics import NAMES, collect_case_metrics
from fb_marketplace.pipelines.release.current_release import CASE_METRICS

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
            "measure": [
                "same_product_recall_at_1",
                "same_product_recall_at_10",
                "ndcg_at_10",
            ],
            "image_id": ["i1", "i1", "i1"],
            "group": ["g", "g", "g"],
            "value": [0.0, 1.0, 0.4],
        }
    )
    searches = pd.DataFrame(
        [
            ("title", "p", "g", "ranker", "ndcg_at_10", 0.7),
            ("photo", "p", "g", "ranker", "ndcg_at_10", 0.5),
            ("title", "p", "g", "ranker", "recall_at_10", 1.0),
            ("title", "p", "g", "fusion", "ndcg_at_10", 0.2),
        ],
        columns=["kind", "product_id", "group", "method", "measure", "value"],
    )
    gathered = collect_case_metrics(photos, listings, served, searches, LABELS)
    return pd.read_parquet(io.BytesIO(gathered))


def rows(table, measure):
    part = table[table["measure"] == measure]
    return list(zip(part["case"], part["group_id"], part["value"], strict=True))


def test_has_a_row_for_each_measure_and_case_of_the_test_split(table):
    assert tuple(table.columns) == CASE_METRICS
    assert set(table["measure"]) == set(NAMES)
    assert not {"i3", "q"} & set(table["case"])


def test_says_of_each_photo_and_listing_whether_it_is_right(table):
    assert rows(table, "photo_top1") == [("i1", "g", 0.0), ("i2", "g", 1.0)]
    assert rows(table, "listing_with_text_top1") == [("p", "g", 1.0), ("r", "k", 1.0)]


def test_a_listing_without_photos_is_not_judged_by_them(table):
    assert rows(table, "listing_top1") == [("p", "g", 0.0)]


def test_says_of_each_search_whether_it_finds(table):
    assert rows(table, "recall_at_1") == [("i1", "g", 0.0)]
    assert rows(table, "recall_at_10") == [("i1", "g", 1.0)]
    assert table["value"].dtype == np.float64


def test_says_of_each_kind_of_search_how_well_the_ranker_does(table):
    assert rows(table, "search_ndcg_at_10") == [("photo/p", "g", 0.5), ("title/p", "g", 0.7)]
