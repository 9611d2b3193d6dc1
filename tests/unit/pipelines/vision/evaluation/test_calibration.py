import io

import numpy as np
import pytest
from PIL import Image

from fb_marketplace.errors import UserError
from fb_marketplace.ml.probabilities import softmax
from fb_marketplace.pipelines.vision.evaluation.calibration import (
    expected_calibration_error,
    reliability,
    undo_calibration,
)
from fb_marketplace.pipelines.vision.evaluation.figures import plot_reliability

TOLD = {"bins": 15, "samples": 200, "confidence": 0.95, "seed": 0}


@pytest.fixture
def random():
    return np.random.default_rng(0)


def answers(random, cases=4000, per_group=1, overconfidence=0.0):
    """Confidences that are right as often as they say, less some; a group shares its luck."""
    groups = np.arange(cases) // per_group
    sure = np.repeat(random.beta(4, 1.5, cases // per_group), per_group)
    luck = np.repeat(random.random(cases // per_group), per_group)
    return sure, luck < sure - overconfidence, groups


def test_calibration_is_invertible(random):
    logits = random.normal(size=(20, 4)).astype(np.float32)

    assert undo_calibration(softmax(logits / 1.7), 1.7) == pytest.approx(softmax(logits))


def test_certain_prediction_has_a_logit():
    assert undo_calibration(np.float32([[1, 0]]), 2.0) == pytest.approx(np.array([[1, 0]]))


@pytest.mark.parametrize("per_group", [1, 4])
def test_calibrated_model_has_no_debiased_error(random, per_group):
    result = [
        expected_calibration_error(*answers(random, 600, per_group), **TOLD | {"samples": 20})
        for _ in range(40)
    ]

    plain, debiased = (np.mean([item[name] for item in result]) for name in ("plain", "value"))
    assert plain > 0.04
    assert debiased < 0.7 * plain
    assert np.median([item["root_mean_square"]["value"] for item in result]) < 0.3 * plain
    assert sum(item["root_mean_square"]["low"] == 0 for item in result) > 32


@pytest.mark.parametrize("per_group", [1, 4])
def test_overconfidence_is_within_its_interval(random, per_group):
    result = expected_calibration_error(*answers(random, 6000, per_group, 0.1), **TOLD)

    for measured in (result, result["root_mean_square"]):
        assert measured["low"] < 0.1 < measured["high"]
        assert measured["value"] == pytest.approx(0.1, abs=0.03)
    assert (result["cases"], result["groups"], result["bins"]) == (6000, 6000 // per_group, 15)


@pytest.mark.parametrize("truth", [0.03, 0.08])
def test_interval_has_nominal_coverage(random, truth):
    base_recipe = TOLD | {"samples": 100}
    result = [
        expected_calibration_error(*answers(random, 900, 1, truth), **base_recipe)
        for _ in range(40)
    ]

    for measured in (result, [item["root_mean_square"] for item in result]):
        assert sum(item["low"] <= truth <= item["high"] for item in measured) >= 34


def test_interval_lower_bound_is_not_above_true_error(random):
    base_recipe = TOLD | {"samples": 100}
    result = [
        expected_calibration_error(*answers(random, 900, 2, 0.02), **base_recipe) for _ in range(40)
    ]

    assert sum(item["high"] < 0.02 for item in result) <= 3


def test_ece_is_mean_gap_of_equal_mass_bins():
    sure = np.repeat([0.6, 0.9], 10)
    right = np.r_[np.ones(4), np.zeros(6), np.ones(10)]  # 0.4 of the first, all of the second

    result = expected_calibration_error(sure, right, np.arange(20), 2, 20, 0.95, 0)

    assert result["plain"] == pytest.approx((0.2 + 0.1) / 2)


@pytest.mark.parametrize("cases", [1, 2, 7])
def test_few_predictions_use_fewer_bins(cases):
    sure, right = np.full(cases, 0.8), np.arange(cases) % 2
    result = expected_calibration_error(sure, right, np.arange(cases), **TOLD)

    assert result["bins"] == 1
    assert 0 <= result["low"] <= result["value"] <= result["high"]


def test_no_predictions_are_rejected():
    with pytest.raises(UserError, match="parameters_cleaning"):
        expected_calibration_error([], [], [], **TOLD)


def test_bins_have_equal_counts_and_rise(random):
    sure, right, _ = answers(random, 100)
    bins = reliability(sure, right, 4)

    assert [item.cases for item in bins] == [25] * 4
    assert [item.confidence for item in bins] == sorted(item.confidence for item in bins)
    assert sum(item.accuracy * item.cases for item in bins) == pytest.approx(right.sum())


@pytest.mark.parametrize("cases", [0, 1, 300])
def test_reliability_diagram_is_drawn(random, cases):
    bins = reliability(*answers(random, cases)[:2], 15)

    assert Image.open(io.BytesIO(plot_reliability(bins, bins))).format == "PNG"
