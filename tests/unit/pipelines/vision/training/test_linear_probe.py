import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.vision.data.category_paths import CategoryPaths
from fb_marketplace.pipelines.vision.training.linear_probe import (
    FeatureSet,
    class_weights,
    make_feature_set,
    make_loss,
    predict,
    predictions_table,
    train_head,
)
from fb_marketplace.schemas.lance import VISION_FEATURES
from fb_marketplace.schemas.predictions import VisionPredictions
from fb_marketplace.storage import keyed_table, table_writer

LABELS = ("Arts", "Home", "Sport")
FEATURES = 256
"""Of the small network."""


@pytest.fixture
def separable():
    """Photos of three classes, each around a corner of its own."""
    random = np.random.default_rng(0)
    classes = np.arange(120) % 3
    features = np.eye(3, FEATURES)[classes] + random.normal(0, 0.02, (120, FEATURES))
    split = np.where(
        np.arange(120) < 90, "train", np.where(np.arange(120) < 105, "validation", "test")
    )
    ids = np.array([f"{place:03}" for place in range(120)])
    return FeatureSet(features.astype(np.float32), classes, split, ids, LABELS, ids, ids)


def test_training_uses_one_thread(separable, base_recipe, monkeypatch):
    step, threads, before = torch.optim.AdamW.step, set(), torch.get_num_threads()

    def counting(optimiser, *words):
        threads.add(torch.get_num_threads())
        return step(optimiser, *words)

    monkeypatch.setattr(torch.optim.AdamW, "step", counting)
    torch.set_num_threads(2)
    try:
        train_head(separable, base_recipe)
    finally:
        torch.set_num_threads(before)

    assert threads == {1}


@pytest.fixture
def stored(tmp_path):
    """Stores features by photo."""

    def store(features):
        url = str(tmp_path / "features.lance")
        rows = [
            {"key": image, "image_id": image, "features": result}
            for image, result in features.items()
        ]
        keyed_table.ensure_table(url, VISION_FEATURES)
        table_writer.insert(url, pa.Table.from_pylist(rows, schema=VISION_FEATURES))
        return keyed_table.open_table(url)

    return store


PRODUCTS = pd.DataFrame(
    {
        "product_id": ["p", "q", "r"],
        "category": ["Sport", "Arts", "Home"],
        "category_path": ["Sport / Golf", "Arts", "Home / Beds"],
    }
)
SPLITS = pd.DataFrame(
    {
        "image_id": ["a", "b", "c", None],
        "product_id": ["p", "q", "q", "r"],
        "group": ["g", "h", "h", "r"],
        "split": ["train", "test", "test", "train"],
    }
)


def same(one, other):
    return all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_separable_classes_are_learned(separable, base_recipe):
    head, history = train_head(separable, base_recipe)

    test = separable.split == "test"
    answers = predict(head, separable.features[test], base_recipe).argmax(axis=1)
    assert (answers == separable.classes[test]).all()
    assert head.labels == LABELS
    assert [epoch["epoch"] for epoch in history] == list(range(1, base_recipe.head.epochs + 1))
    assert history[-1]["training_loss"] < history[0]["training_loss"]


@pytest.mark.parametrize("told_apart", [True, False])
def test_nonlinear_categories_are_learned_by_paths(base_recipe, changed, told_apart):
    """Each of two has two paths, across from one another: between those lie the other's."""
    random = np.random.default_rng(0)
    paths = random.integers(4, size=400)
    angles = paths * np.pi / 2 + random.normal(0, 0.2, 400)
    features = np.tile(np.stack([np.cos(angles), np.sin(angles)], 1), FEATURES // 2)
    ids = np.asarray([f"{place:03}" for place in range(400)])
    split = np.where(np.arange(400) < 300, "train", "validation")
    result = FeatureSet(
        *(features.astype(np.float32), paths % 2, split, ids, ("Arts", "Home"), ids, ids),
        # Numbered category by category.
        CategoryPaths(paths % 2 * 2 + paths // 2, (2, 2)) if told_apart else None,
    )
    recipe = changed(base_recipe, path_loss_weight=0.5)

    head, history = train_head(result, recipe)

    right = float((predict(head, result.features, recipe).argmax(axis=1) == result.classes).mean())
    assert (right > 0.95) is told_apart
    assert (right < 0.8) is not told_apart
    assert history[-1]["validation_accuracy"] == pytest.approx(right, abs=0.1)


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_loss_weights_paths_and_balances_categories(base_recipe, changed, weight):
    recipe = changed(base_recipe, path_loss_weight=weight, label_smoothing=0.0)
    answers, paths = torch.randn(5, 2), torch.randn(5, 4)
    classes, numbers = torch.tensor([0, 1, 0, 0, 1]), torch.tensor([0, 2, 1, 0, 3])
    rare = torch.tensor([0.5, 2.0])

    loss = make_loss(rare, True, recipe)(answers, paths, classes, numbers)

    of_class = torch.nn.functional.cross_entropy(answers, classes, rare)
    of_path = torch.nn.functional.cross_entropy(paths, numbers)
    torch.testing.assert_close(loss, of_class + weight * of_path)
    alone = make_loss(rare, False, recipe)(answers, paths, classes, numbers)
    torch.testing.assert_close(alone, of_class)


def test_resnet50_probe_uses_its_hidden_layer(separable, base_recipe, changed):
    resnet50 = changed(base_recipe, backbone="resnet50", head={"learning_rate": 0.003})
    wide = separable._replace(features=np.tile(separable.features, 2048 // FEATURES))

    head, _ = train_head(wide, resnet50)

    answers = predict(head, wide.features, resnet50).argmax(axis=1)
    assert (answers == wide.classes).mean() > 0.9
    assert head.weights["fc.0.weight"].shape == (1000, 2048)
    assert head.weights["fc.2.weight"].shape == (3, 1000)


def test_resnet50_linear_probe_trains_and_predicts(separable, base_recipe, changed):
    resnet50 = changed(base_recipe, backbone="resnet50")
    wide = separable._replace(features=np.tile(separable.features, 2048 // FEATURES))

    head, _ = train_head(wide, resnet50, hidden=0)

    assert head.weights["fc.weight"].shape == (3, 2048)
    answers = predict(head, wide.features, resnet50).argmax(axis=1)
    assert (answers == wide.classes).mean() > 0.9


def test_test_split_does_not_affect_training(separable, base_recipe):
    features = separable.features.copy()
    features[separable.split == "test"] = 1e6
    one, history = train_head(separable, base_recipe)
    other, same_history = train_head(separable._replace(features=features), base_recipe)

    assert same(one, other)
    assert history == same_history


def test_best_validation_epoch_is_kept(separable, base_recipe):
    classes = separable.classes.copy()
    # What is learnt in training is wrong on validation: the best epoch is an early one.
    classes[separable.split == "validation"] = (classes[separable.split == "validation"] + 1) % 3
    head, history = train_head(separable._replace(classes=classes), base_recipe)

    validation = separable.split == "validation"
    answers = predict(head, separable.features[validation], base_recipe).argmax(axis=1)
    assert (answers == classes[validation]).mean() == pytest.approx(
        max(epoch["validation_accuracy"] for epoch in history)
    )


def test_training_is_deterministic_for_a_seed(separable, base_recipe, changed):
    one, again = (train_head(separable, base_recipe)[0] for _ in range(2))
    other, _ = train_head(separable, changed(base_recipe, seed=1))

    assert same(one, again)
    assert not same(one, other)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_missing_photos_name_the_remedy(separable, base_recipe, split):
    nothing = separable._replace(split=np.where(separable.split == split, "test", separable.split))

    with pytest.raises(UserError, match="`splits:`"):
        train_head(nothing, base_recipe)


def test_balance_increases_weight_of_rare_classes():
    classes = np.array([0] * 8 + [1] * 2)

    even, rooted, full = (class_weights(classes, 3, balance) for balance in (0, 0.5, 1))

    assert even.tolist() == [1, 1, 1]
    assert rooted[1] / rooted[0] == pytest.approx(2)
    assert full[1] / full[0] == pytest.approx(4)
    assert full[classes].mean() == pytest.approx(1)
    assert full[2] == 1, "there are none of it"


def test_rows_have_features_class_split_and_group(stored):
    result = make_feature_set(stored({"c": [3, 3], "a": [1, 1], "b": [2, 2]}), PRODUCTS, SPLITS)

    assert result.labels == LABELS
    assert result.image_ids.tolist() == ["a", "b", "c"]
    assert result.product_ids.tolist() == ["p", "q", "q"]
    assert result.features.tolist() == [[1, 1], [2, 2], [3, 3]]
    assert [result.labels[place] for place in result.classes] == ["Sport", "Arts", "Arts"]
    assert result.split.tolist() == ["train", "test", "test"]
    assert result.groups.tolist() == ["g", "h", "h"]


def test_unsplit_photo_does_not_shift_features(stored):
    result = make_feature_set(stored({"Z": [9, 9], "b": [2, 2], "a": [1, 1]}), PRODUCTS, SPLITS)

    assert result.features.tolist() == [[1, 1], [2, 2]]
    assert len(result.classes) == 2


def test_predictions_have_probabilities_and_truth(stored):
    result = make_feature_set(stored({"a": [1, 1], "b": [2, 2], "c": [3, 3]}), PRODUCTS, SPLITS)
    logits = np.log(np.float32([[7, 2, 1], [1, 8, 1]]))

    table = VisionPredictions.validate(predictions_table(result, logits, result.split == "test"))

    assert table["image_id"].tolist() == ["b", "c"]
    assert table["category"].tolist() == ["Arts", "Arts"]
    np.testing.assert_allclose(
        np.stack(table["probabilities"]), [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]], atol=1e-6
    )
