import json

import numpy as np
import pytest
from support.builders.vision_predictions import LABELS, MEASURING, marketplace, predictions

from fb_marketplace.pipelines.vision.evaluation.abstention import select_abstention
from fb_marketplace.pipelines.vision.evaluation.evaluate import evaluate_vision
from fb_marketplace.pipelines.vision.evaluation.late_fusion import fuse_products

CALIBRATION = {"temperature": 2.0}


def evaluated(products, splits, photos, text, frozen=None):
    frozen = photos if frozen is None else frozen
    fused = fuse_products(photos, text, products, splits)
    chosen = select_abstention(photos, fused.predictions, products, MEASURING)
    return evaluate_vision(
        photos,
        frozen,
        fused.predictions,
        products,
        splits,
        CALIBRATION,
        fused.choices,
        chosen,
        MEASURING,
    )


@pytest.fixture(scope="module")
def result():
    products, splits, photos, text = marketplace(600)
    weaker = predictions(products, splits, np.random.default_rng(9), sharpness=0.5)
    return evaluated(products, splits, photos, text, weaker.iloc[::-1])


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("owner", ["photos", "products", "products_text", "products_with_text"])
@pytest.mark.parametrize("name", ["top1", "top3", "macro_f1"])
def test_each_metric_has_trivial_baseline(result, split, owner, name):
    measured = result.metrics[split][f"{owner}_{name}"]

    assert measured["low"] <= measured["value"] <= measured["high"]
    assert measured["groups"] > 0
    trivial = result.metrics[split][f"{owner}_{name}_most_frequent_category"]
    assert trivial["value"] < measured["value"] or name == "top3"


def test_fusion_beats_photos_and_text_alone(result):
    test = result.metrics["test"]

    together = test["products_with_text_top1"]["value"]
    assert together > test["products_text_top1"]["value"]
    assert together > test["products_top1"]["value"] > test["photos_top1"]["value"]
    assert test["products_with_text_top1_gain_over_text"]["low"] > 0


@pytest.mark.parametrize("owner", ["photos", "products", "products_with_text"])
def test_gain_over_frozen_backbone_is_paired(result, owner):
    test = result.metrics["test"]
    gained = test[f"{owner}_top1_gain_over_frozen"]

    difference = test[f"{owner}_top1"]["value"] - test[f"{owner}_top1_frozen"]["value"]
    assert gained["value"] == pytest.approx(difference, abs=2e-4)
    assert gained["value"] > 0


def test_equal_predictions_have_zero_gain():
    metrics, _ = evaluated(*marketplace(60))

    for split in ("validation", "test"):
        for owner in ("photos", "products", "products_with_text"):
            assert metrics[split][f"{owner}_top1_gain_over_frozen"]["high"] == 0


def test_calibration_error_is_before_and_after(result):
    test = result.metrics["test"]

    # The made-up photos are calibrated, so undoing a temperature of 2 spoils them.
    assert test["photos_ece"]["value"] < 0.06 < test["photos_ece_uncalibrated"]["value"]
    assert test["photos_ece"]["plain"] > 0
    assert {"value", "low", "high", "cases", "groups"} <= set(test["products_with_text_ece"])


def test_abstention_uses_chosen_thresholds(result):
    for owner, chosen in result.metrics["choices"]["abstention"].items():
        measured = result.metrics["test"]["abstention"][owner]
        assert 0 < measured["coverage"]["value"] < 1
        assert measured["error"]["value"] < 2 * chosen["error"]
        assert measured["set_coverage"]["value"] > 0.9


def test_each_category_has_photo_and_listing_metrics(result):
    table = result.per_class

    assert len(table) == 4 * 2 * len(LABELS)
    support = table.groupby(["subject", "split"])["support"].sum()
    assert support["photos", "test"] == result.metrics["test"]["photos_top1"]["cases"]


def test_metrics_are_json_serializable(result):
    assert json.loads(json.dumps(result.metrics, allow_nan=False)) == result.metrics


def test_backbone_predictions_of_other_photos_are_rejected():
    products, splits, photos, text = marketplace(60)

    with pytest.raises(ValueError, match="photos"):
        evaluated(products, splits, photos, text, photos.iloc[1:])


def test_missing_test_category_is_handled():
    products, splits, photos, text = marketplace(12)
    tested = splits.loc[splits["split"] == "test", "product_id"]
    products.loc[products["product_id"].isin(tested), "category"] = "Arts"
    products.loc[~products["product_id"].isin(tested), "category"] = ["Home", "Sport"] * 4
    products.loc[0, "category"] = "Arts"
    category = products.set_index("product_id")["category"]
    photos = photos.assign(category=photos["product_id"].map(category))
    metrics, table = evaluated(products, splits, photos, text)

    assert metrics["test"]["abstention"]["photos"]["error"] is None
    assert metrics["test"]["abstention"]["photos"]["coverage"]["value"] == 0
    assert set(table["category"]) == set(LABELS)
