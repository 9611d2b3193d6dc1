import numpy as np
import pytest
from support.builders.vision_predictions import LABELS, MEASURING

from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.evaluation import leakage
from fb_marketplace.pipelines.vision.evaluation.leakage import (
    report_leakage,
    siblings_in_training,
)
from fb_marketplace.pipelines.vision.training.linear_probe import FeatureSet


def seen_in_training(result):
    part = result.split == "train"
    return result.features[part], result.classes[part]


@pytest.fixture
def nearest(monkeypatch):
    """The head knows the photo that it saw in training and is nearest: it learns by heart.

    Returns the data of each training.
    """
    trained = []

    def train_head(result, parameters, hidden):
        trained.append(result)
        return seen_in_training(result), []

    def predict(head, features, parameters):
        seen, classes = head
        return np.eye(len(LABELS), dtype=np.float32)[classes[(features @ seen.T).argmax(axis=1)]]

    monkeypatch.setattr(leakage, "train_head", train_head)
    monkeypatch.setattr(leakage, "predict", predict)
    return trained


@pytest.fixture
def report(monkeypatch, nearest, base_parameters):
    """Reports on groups of photos that look the same within a group, whatever their class."""

    def make(photos_per_group, groups=200):
        random = np.random.default_rng(0)
        group = np.repeat(np.arange(groups), photos_per_group)
        looks = random.normal(size=(groups, 16))[group]
        result = FeatureSet(
            features=(looks + random.normal(0, 0.1, looks.shape)).astype(np.float32),
            classes=random.integers(0, len(LABELS), groups)[group],
            split=np.where(group < 120, "train", np.where(group < 160, "validation", "test")),
            groups=group.astype(str),
            labels=LABELS,
            image_ids=np.arange(len(group)).astype(str),
            product_ids=group.astype(str),
        )
        monkeypatch.setattr(leakage, "make_feature_set", lambda *given: result)
        recipe = VisionParameters.model_validate(base_parameters["vision"])
        return report_leakage(None, None, None, recipe, MEASURING)

    return make


def test_random_split_shows_leakage_between_photos(report):
    result = report(4)

    assert result["difference"]["low"] > 0.3
    gap = result["random"]["top1"]["value"] - result["honest"]["top1"]["value"]
    assert result["difference"]["value"] == pytest.approx(gap, abs=2e-4)
    assert result["honest"]["sibling_in_training"]["value"] == 0
    assert result["random"]["sibling_in_training"]["value"] > 0.8


def test_single_photo_listings_cannot_leak(report):
    result = report(1, 200)

    assert result["random"]["sibling_in_training"]["value"] == 0
    assert result["difference"]["low"] < 0 < result["difference"]["high"]


def test_both_splits_train_on_the_same_photos(report, nearest):
    report(4)

    honest, random = nearest
    assert honest.image_ids is random.image_ids
    assert np.array_equal(np.sort(honest.split), np.sort(random.split))
    assert (honest.split != random.split).any()


def test_both_splits_have_equal_sizes_and_baseline(report):
    result = report(4)

    assert result["photos"] == {"train": 480, "validation": 160, "test": 160}
    for name in ("honest", "random"):
        assert {item["cases"] for item in result[name].values()} == {160}
        assert 0.2 < result[name]["top1_most_frequent_category"]["value"] < 0.6


def test_sibling_is_photo_of_the_same_group():
    result = FeatureSet(
        np.zeros((4, 1), np.float32),
        np.zeros(4, np.int64),
        np.array(["train", "test", "test", "validation"]),
        np.array(["a", "a", "b", "b"]),
        LABELS,
        np.array(list("ijkl")),
        np.array(list("pqrs")),
    )

    assert siblings_in_training(result).tolist() == [True, False]
