import numpy as np
import pandas as pd
import pytest
from support.builders.vision_predictions import LABELS, marketplace, probabilities

from fb_marketplace.evaluation.predictions import predictions_for_split
from fb_marketplace.ml.probabilities import log_loss
from fb_marketplace.pipelines.vision.evaluation.calibration import expected_calibration_error
from fb_marketplace.pipelines.vision.evaluation.late_fusion import (
    FusionWeights,
    fit_fusion_weights,
    fuse_products,
    fuse_with_weights,
)

EVEN = np.full(3, 1 / 3)


def sources(cases, seed=0, sharpness=2.0):
    random = np.random.default_rng(seed)
    classes = random.integers(0, 3, cases)
    return *(probabilities(classes, random, sharpness) for _ in range(2)), classes


def fitted(photos, text, classes, shares=EVEN):
    return fit_fusion_weights(photos, text, classes, text[:0], classes[:0], shares)


def test_complementary_sources_improve_each_other():
    pool = fitted(*sources(2000))
    photos, text, classes = sources(2000, seed=1)
    both = fuse_with_weights(pool, photos, text, EVEN)

    assert log_loss(both, classes) < min(log_loss(photos, classes), log_loss(text, classes)) - 0.1
    right = [(predicted.argmax(axis=1) == classes).mean() for predicted in (both, photos, text)]
    assert right[0] > max(right[1:]) + 0.05


def test_duplicate_sources_share_their_weight():
    photos, text, classes = sources(5000)
    separate, copied = fitted(photos, text, classes), fitted(photos, photos, classes)

    assert (separate.photos, separate.text) == pytest.approx((1, 1), abs=0.1)
    assert copied.photos + copied.text == pytest.approx(1, abs=0.05)


def test_uninformative_source_has_zero_weight():
    photos, text, classes = sources(3000)
    noise = np.random.default_rng(5).permutation(photos)

    assert fitted(noise, text, classes).photos < 0.05


def test_shared_prior_counts_once():
    random = np.random.default_rng(0)
    shares = np.array([0.7, 0.2, 0.1])
    classes = random.choice(3, 8000, p=shares)
    predicted = [probabilities(classes, random, 1.0) * shares for _ in range(2)]
    photos, text = (item / item.sum(axis=1, keepdims=True) for item in predicted)

    assert fitted(photos, text, classes, shares).prior == pytest.approx(-1, abs=0.25)


def test_overconfident_source_is_calibrated():
    photos, text, classes = sources(3000)
    sharp = photos**3 / (photos**3).sum(axis=1, keepdims=True)
    both = fuse_with_weights(fitted(sharp, text, classes), sharp, text, EVEN)

    right = both.argmax(axis=1) == classes
    measured = expected_calibration_error(both.max(axis=1), right, np.arange(3000), 15, 20, 0.95, 0)
    assert measured["value"] < 0.03


def test_no_validation_listings_average_the_sources():
    photos, text, classes = sources(0)

    assert fitted(photos, text, classes) == pytest.approx(FusionWeights(0.5, 0.5, 0.0, 1.0))


def test_few_correct_listings_do_not_give_certainty():
    predicted = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    pool = fitted(predicted, predicted, np.array([0, 1]))

    assert max(pool) < 3


def test_zero_probability_does_not_veto():
    pool = FusionWeights(0.5, 0.5, 0.0, 1.0)
    both = fuse_with_weights(pool, np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 1.0, 0.0]]), EVEN)

    assert both[0] == pytest.approx([0.5, 0.5, 0], abs=1e-2)


def test_photos_are_averaged_with_text_as_fallback():
    products, splits, photos, text = marketplace(60)
    result = fuse_products(photos, text, products, splits).predictions.set_index("product_id")

    assert set(result["split"]) == {"validation", "test"}
    params = photos["product_id"].iloc[0]
    of_one = np.stack(photos.loc[photos["product_id"] == params, "probabilities"].to_list())
    assert result.loc[params, "by_photos"] == pytest.approx(of_one.mean(axis=0))
    assert result.loc[params, "photos"] == 2
    without = result[result["photos"] == 0]
    assert len(without)
    assert without["by_photos"].isna().all()
    for predicted, of_text in zip(without["probabilities"], without["by_text"], strict=True):
        assert predicted.argmax() == of_text.argmax()
    assert [row.sum() for row in result["probabilities"]] == pytest.approx([1] * len(result))


def test_weights_are_chosen_on_validation():
    products, splits, photos, text = marketplace()
    before = fuse_products(photos, text, products, splits).choices
    tested = set(splits.loc[splits["split"] == "test", "product_id"])
    products.loc[products["product_id"].isin(tested), "category"] = "Arts"

    assert fuse_products(photos, text, products, splits).choices == before


def test_listings_without_photos_are_supported():
    products, splits, photos, text = marketplace(30)
    fused = fuse_products(photos.iloc[:0], text, products, splits).predictions

    assert len(predictions_for_split(fused, "test", LABELS, "by_photos").targets) == 0
    assert (fused["photos"] == 0).all()


def test_predictions_match_schema(tmp_path):
    from fb_marketplace.schemas.predictions import ProductPredictions, VisionPredictions

    products, splits, photos, text = marketplace(60)
    fused = fuse_products(photos, text, products, splits).predictions
    for table, schema in ((fused, ProductPredictions), (photos, VisionPredictions)):
        schema.validate(table)
        table.to_parquet(tmp_path / "table.parquet")
        again = pd.read_parquet(tmp_path / "table.parquet")
        schema.validate(again)
        for split in ("validation", "test"):
            for column in set(table) & {"probabilities", "by_photos"}:
                before, after = (
                    predictions_for_split(item, split, LABELS, column) for item in (table, again)
                )
                assert (before.probabilities == after.probabilities).all()
