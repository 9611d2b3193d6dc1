import numpy as np
import pytest
from support.builders.vision_predictions import LABELS, MEASURING, marketplace, probabilities

from fb_marketplace.evaluation.predictions import Predictions, predictions_for_split
from fb_marketplace.pipelines.vision.evaluation.abstention import (
    ASSURANCE,
    evaluate_abstention,
    sample_one_per_group,
    select_abstention,
    select_set_level,
    select_threshold,
)
from fb_marketplace.pipelines.vision.evaluation.late_fusion import fuse_products


def drawn(random, cases):
    """Confidences that say too much: the error above c is known."""
    sure = random.random(cases)
    return sure, random.random(cases) < sure


def error_above(threshold):
    """Of confidences spread evenly and right as often as they say: the mean of 1 - c above it."""
    return (1 - threshold) / 2


def test_threshold_keeps_error_bound_at_confidence():
    random = np.random.default_rng(0)
    broken = 0
    for _ in range(400):
        broken += error_above(select_threshold(*drawn(random, 300), 0.2)) > 0.2

    # At most 1 in 10 may; 400 draws of that stay below 55.
    assert broken <= 400 * (1 - ASSURANCE) + 15


def test_threshold_is_near_the_optimum():
    random = np.random.default_rng(1)

    assert 0.6 <= select_threshold(*drawn(random, 20_000), 0.2) < 0.63


def test_perfect_predictions_are_all_answered():
    assert select_threshold(np.linspace(0.3, 0.9, 200), np.ones(200), 0.05) == 0.0


@pytest.mark.parametrize(
    ("cases", "right"), [(0, 1), (1, 1), (44, 1), (500, 0)], ids=["none", "one", "few", "wrong"]
)
def test_nothing_is_answered_if_bound_is_unreachable(cases, right):
    result = select_threshold(np.linspace(0.5, 0.99, cases), np.full(cases, right), 0.05)

    assert result == 1.0


def test_equal_confidences_are_answered_together():
    sure = np.r_[np.full(100, 0.9), np.full(100, 0.5)]
    right = np.r_[np.ones(100), np.tile([1, 0], 50)]

    assert select_threshold(sure, right, 0.05) == 0.5


def test_prediction_sets_have_nominal_coverage():
    random = np.random.default_rng(0)
    existing = []
    for _ in range(300):
        classes = random.integers(0, 4, 120)
        predicted = probabilities(classes, random, labels=4)
        level = select_set_level(predicted[:100], classes[:100], 0.1)
        existing.append((predicted[np.arange(120), classes] >= level)[100:].mean())

    assert 0.89 < np.mean(existing) < 0.93


def test_prediction_sets_are_full_if_data_is_scarce():
    assert select_set_level(np.full((3, 2), 0.5), np.zeros(3, np.int64), 0.05) == 0.0


def test_one_case_per_group_is_sampled():
    groups = np.repeat(np.arange(50), 4)
    rows = sample_one_per_group(groups, 0)

    assert groups[rows].tolist() == list(range(50))
    assert len(set(rows % 4)) == 4


def test_coverage_and_error_are_evaluated():
    predicted = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    result = Predictions(predicted, np.array([0, 1, 0, 1]), np.array(list("abcd")))
    chosen = {"threshold": 0.65, "set_above": 0.35}
    measured = evaluate_abstention(result, chosen, MEASURING)

    assert measured["coverage"]["value"] == 0.75
    assert measured["error"]["value"] == pytest.approx(1 / 3, abs=1e-4)
    assert measured["error"]["cases"] == 3
    assert measured["error_of_all"]["value"] == 0.5
    assert measured["set_coverage"]["value"] == 0.75
    assert measured["set_size"]["value"] == 1.25


def test_error_without_answers_is_undefined():
    result = Predictions(np.array([[0.9, 0.1]]), np.array([0]), np.array(["a"]))
    measured = evaluate_abstention(result, {"threshold": 1.0, "set_above": 0.0}, MEASURING)

    assert measured["coverage"]["value"] == 0.0
    assert measured["error"] is None


def test_thresholds_are_chosen_on_validation():
    products, splits, photos, text = marketplace(600)
    changed = photos.copy()
    changed.loc[changed["split"] == "test", "category"] = LABELS[0]
    listings = fuse_products(photos, text, products, splits).predictions

    before = select_abstention(photos, listings, products, MEASURING)
    assert select_abstention(changed, listings, products, MEASURING) == before
    assert before["photos"]["groups"] == photos.query("split == 'validation'")["group"].nunique()


def test_photos_and_listings_have_their_own_bounds():
    products, splits, photos, text = marketplace(600)
    listings = fuse_products(photos, text, products, splits).predictions
    errors = MEASURING.max_error_when_answering.model_copy(update={"photos": 0.3})
    base_recipe = MEASURING.model_copy(update={"max_error_when_answering": errors})

    chosen = select_abstention(photos, listings, products, base_recipe)

    before = select_abstention(photos, listings, products, MEASURING)
    assert chosen["photos"]["threshold"] < before["photos"]["threshold"]
    assert chosen["products_with_text"] == before["products_with_text"]


def test_chosen_threshold_lowers_the_error():
    products, splits, photos, text = marketplace(1500)
    listings = fuse_products(photos, text, products, splits).predictions
    chosen = select_abstention(photos, listings, products, MEASURING)["photos"]
    measured = evaluate_abstention(predictions_for_split(photos, "test", LABELS), chosen, MEASURING)

    assert measured["coverage"]["value"] > 0.3
    assert measured["error"]["value"] < 0.06 < measured["error_of_all"]["value"]
