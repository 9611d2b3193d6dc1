import numpy as np
import pytest
from support.builders.vision_predictions import MEASURING

from fb_marketplace.evaluation.predictions import Predictions
from fb_marketplace.pipelines.vision.evaluation.metrics import (
    accuracy_gain,
    by_frequency,
    compute_category_metrics,
    top_k_accuracy,
)
from fb_marketplace.pipelines.vision.evaluation.per_class import per_class_metrics

SAID = np.array(
    [[0.6, 0.2, 0.15, 0.05], [0.5, 0.3, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4], [0.1, 0.7, 0.15, 0.05]]
)
FOUND = Predictions(SAID, np.array([0, 1, 2, 1]), np.array(["a", "a", "b", "c"]))
LABELS = ("Arts", "Cars", "Home", "Sport")


def test_top_1_and_top_3_accuracy():
    result = compute_category_metrics(FOUND, np.array([1, 3, 2, 0]), MEASURING)

    assert result["top1"]["value"] == 0.5
    assert result["top3"]["value"] == 1.0
    assert result["top1_most_frequent_category"]["value"] == 0.5
    assert result["top3_most_frequent_category"]["value"] == 0.75
    assert result["log_loss"]["value"] == pytest.approx(
        -np.log([0.6, 0.3, 0.3, 0.7]).mean(), abs=1e-4
    )
    assert {(item["cases"], item["groups"]) for item in result.values()} == {(4, 3)}


def test_top_k_accuracy():
    assert top_k_accuracy(FOUND, 1).tolist() == [True, False, False, True]
    assert top_k_accuracy(FOUND, 2).tolist() == [True, True, True, True]


def test_gain_is_paired_by_case():
    other = FOUND._replace(probabilities=SAID[[0, 0, 0, 0]])  # right once less

    assert accuracy_gain(FOUND, other, MEASURING)["value"] == 0.25
    assert accuracy_gain(FOUND, FOUND, MEASURING) == {
        "value": 0.0,
        "low": 0.0,
        "high": 0.0,
        "cases": 4,
        "groups": 3,
    }


def test_categories_are_sorted_by_frequency():
    assert by_frequency(np.array(["Home", "Sport", "Home"]), LABELS).tolist() == [2, 3, 0, 1]


def test_each_category_has_metrics_or_none():
    table = per_class_metrics({("photos", "test"): FOUND}, LABELS, {"photos": 1}, MEASURING)
    rows = table.set_index("category")

    assert rows["support"].to_dict() == {"Arts": 1, "Cars": 2, "Home": 1, "Sport": 0}
    assert rows["predicted"].to_dict() == {"Arts": 2, "Cars": 1, "Home": 0, "Sport": 1}
    assert rows.loc["Arts", ["precision", "recall", "f1"]].tolist() == [0.5, 1.0, 0.6667]
    assert rows.loc["Cars", ["precision", "recall", "f1"]].tolist() == [1.0, 0.5, 0.6667]
    assert rows.loc["Home", ["recall", "f1"]].tolist() == [0.0, 0.0]
    assert rows["precision"].isna().to_dict()["Home"]
    assert rows["recall"].isna().to_dict()["Sport"]
    assert rows.loc["Cars", "f1_most_frequent_category"] == pytest.approx(2 * 2 / 6, abs=1e-4)
    assert rows.loc["Arts", "f1_most_frequent_category"] == 0.0
    assert (rows["f1_low"] <= rows["f1_high"]).all()
