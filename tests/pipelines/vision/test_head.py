import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fb_marketplace import tables
from fb_marketplace.lance_schemas import VISION_FEATURES
from fb_marketplace.pipelines.vision.head import (
    Examples,
    draw_learning_curves,
    examples,
    predict,
    train_head,
)

LABELS = ("Arts", "Home", "Sport")


@pytest.fixture
def separable():
    """Photos of three classes, each around a corner of its own."""
    random = np.random.default_rng(0)
    classes = np.arange(120) % 3
    features = np.eye(3, 8, dtype=np.float32)[classes] + random.normal(0, 0.1, (120, 8))
    split = np.where(
        np.arange(120) < 90, "train", np.where(np.arange(120) < 105, "validation", "test")
    )
    groups = np.arange(120).astype(str)
    return Examples(features.astype(np.float32), classes, split, groups, LABELS)


@pytest.fixture
def stored(tmp_path):
    """Stores features by photo."""

    def store(features):
        url = str(tmp_path / "features.lance")
        rows = [
            {"key": image, "image_id": image, "features": found}
            for image, found in features.items()
        ]
        tables.ensure(url, VISION_FEATURES)
        tables.insert(url, pa.Table.from_pylist(rows, schema=VISION_FEATURES))
        return tables.open_table(url)

    return store


PRODUCTS = pd.DataFrame({"product_id": ["p", "q", "r"], "category": ["Sport", "Arts", "Home"]})
SPLITS = pd.DataFrame(
    {
        "image_id": ["a", "b", "c", None],
        "product_id": ["p", "q", "q", "r"],
        "group": ["p", "q", "q", "r"],
        "split": ["train", "test", "test", "train"],
    }
)


def test_a_head_learns_what_can_be_told_apart(separable, told):
    head, history = train_head(separable, told)

    test = separable.split == "test"
    assert (predict(head, separable.features[test]) == separable.classes[test]).all()
    assert head.labels == LABELS
    assert len(history) == told.epochs
    assert history[-1]["training_loss"] < history[0]["training_loss"]


def test_the_test_split_is_not_looked_at(separable, told):
    features = separable.features.copy()
    features[separable.split == "test"] = 1e6
    one, history = train_head(separable, told)
    other, same = train_head(separable._replace(features=features), told)

    assert (one.weight == other.weight).all()
    assert history == same


def test_the_epoch_that_is_best_on_validation_is_kept(separable, told):
    classes = separable.classes.copy()
    # What is learnt in training is wrong on validation: the best epoch is an early one.
    classes[separable.split == "validation"] = (classes[separable.split == "validation"] + 1) % 3
    head, history = train_head(separable._replace(classes=classes), told)

    validation = separable.split == "validation"
    right = (predict(head, separable.features[validation]) == classes[validation]).mean()
    assert right == pytest.approx(max(epoch["validation_accuracy"] for epoch in history))


def test_the_same_seed_gives_the_same_head_and_another_does_not(separable, told):
    one, again = (train_head(separable, told)[0] for _ in range(2))
    other, _ = train_head(separable, told.model_copy(update={"seed": 1}))

    assert (one.weight == again.weight).all()
    assert not np.array_equal(one.weight, other.weight)


def test_each_photo_stands_beside_its_features_class_split_and_group(stored):
    found = examples(stored({"c": [3, 3], "a": [1, 1], "b": [2, 2]}), PRODUCTS, SPLITS)

    assert found.labels == LABELS
    assert found.features.tolist() == [[1, 1], [2, 2], [3, 3]]
    assert [found.labels[place] for place in found.classes] == ["Sport", "Arts", "Arts"]
    assert found.split.tolist() == ["train", "test", "test"]
    assert found.groups.tolist() == ["p", "q", "q"]


def test_a_photo_that_is_in_no_split_shifts_no_other_s_features(stored):
    found = examples(stored({"Z": [9, 9], "b": [2, 2], "a": [1, 1]}), PRODUCTS, SPLITS)

    assert found.features.tolist() == [[1, 1], [2, 2]]
    assert len(found.classes) == 2


def test_learning_curves_are_a_picture(separable, told):
    _, history = train_head(separable, told)

    assert draw_learning_curves(history).startswith(b"\x89PNG")
