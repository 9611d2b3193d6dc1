"""Objectives of the heads, on listings of two photos that have most of their features in common."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.vision.training import metric_learning
from fb_marketplace.pipelines.vision.training.linear_probe import make_feature_set, train_head
from fb_marketplace.pipelines.vision.training.metric_learning import fit_head
from fb_marketplace.pipelines.vision.training.train_embedding import product_pairs
from fb_marketplace.pipelines.vision.training.tuning import (
    prepare_embedding_objective,
    prepare_head_objective,
)
from fb_marketplace.schemas.lance import VISION_FEATURES
from fb_marketplace.storage import keyed_table, table_writer

LISTINGS, FEATURES = 36, 256
LABELS = np.array(["Arts", "Home", "Sport"])
IDS = [f"{listing:02}" for listing in range(LISTINGS)]
PRODUCTS = pd.DataFrame({"product_id": IDS, "category": LABELS[np.arange(LISTINGS) % 3]})
PRODUCTS["category_path"] = PRODUCTS["category"]
IMAGES = [f"{listing}.{photo}" for listing in IDS for photo in (1, 2)]
SPLITS = pd.DataFrame(
    {
        "image_id": IMAGES,
        "product_id": np.repeat(IDS, 2),
        "group": np.repeat(IDS, 2),
        "split": np.repeat(["train"] * 20 + ["validation"] * 10 + ["test"] * 6, 2),
    }
)


@pytest.fixture
def store(tmp_path):
    """Store the features of all photos, those of the test split from a seed of their own."""

    def store(test_seed):
        random = np.random.default_rng(0)
        category = np.eye(3, FEATURES)[np.arange(LISTINGS) % 3]
        listings = category + random.normal(size=(LISTINGS, FEATURES)) / 4
        features = np.repeat(listings, 2, axis=0)
        features += random.normal(size=features.shape) / 4
        is_test = (SPLITS["split"] == "test").to_numpy()
        other = np.random.default_rng(test_seed)
        features[is_test] = other.normal(size=(is_test.sum(), FEATURES))
        rows = [
            {"key": name, "image_id": name, "features": row.astype(np.float32)}
            for name, row in zip(IMAGES, features, strict=True)
        ]
        url = str(tmp_path / f"features_{test_seed}.lance")
        keyed_table.ensure_table(url, VISION_FEATURES)
        table_writer.insert(url, pa.Table.from_pylist(rows, schema=VISION_FEATURES))
        return keyed_table.open_table(url)

    return store


def test_head_objective_is_validation_accuracy_of_best_epoch(store, base_recipe):
    table = store(1)

    objective = prepare_head_objective(table, PRODUCTS, SPLITS, base_recipe)

    cases = objective.evaluate(base_recipe.head)
    _, history = train_head(make_feature_set(table, PRODUCTS, SPLITS, base_recipe), base_recipe)
    assert cases.mean() == pytest.approx(max(epoch["validation_accuracy"] for epoch in history))
    assert objective.groups.tolist() == np.repeat(IDS[20:30], 2).tolist()
    assert set(cases) <= {0.0, 1.0}


def test_embedding_objective_is_validation_recall_of_best_epoch(store, base_recipe):
    table = store(1)

    objective = prepare_embedding_objective(table, PRODUCTS, SPLITS, base_recipe)

    cases = objective.evaluate(base_recipe.embedding)
    pairs = product_pairs(make_feature_set(table, PRODUCTS, SPLITS), PRODUCTS)
    _, history = fit_head(pairs, base_recipe.embedding, base_recipe.seed)
    assert cases.mean() == pytest.approx(max(epoch["validation_recall_at_1"] for epoch in history))
    assert cases.shape == objective.groups.shape == (20,)


@pytest.mark.parametrize("prepare", [prepare_head_objective, prepare_embedding_objective])
def test_photos_of_test_split_do_not_matter(store, base_recipe, prepare):
    one, other = (prepare(store(seed), PRODUCTS, SPLITS, base_recipe) for seed in (1, 2))

    np.testing.assert_array_equal(one.evaluate(one.current), other.evaluate(other.current))


@pytest.mark.parametrize(
    ("prepare", "values"),
    [
        (prepare_head_objective, {"learning_rate": 1e-9}),
        (prepare_embedding_objective, {"dimension": 2}),
    ],
)
def test_values_of_section_are_used(store, base_recipe, prepare, values):
    objective = prepare(store(1), PRODUCTS, SPLITS, base_recipe)

    cases = objective.evaluate(objective.current.model_copy(update=values))

    assert not np.array_equal(cases, objective.evaluate(objective.current))


def test_head_of_a_trial_has_the_parts_of_its_values(store, base_recipe, changed, monkeypatch):
    recipe = changed(base_recipe, embedding={"late_blocks": 1, "late_weight": 0.2})
    objective = prepare_embedding_objective(store(1), PRODUCTS, SPLITS, recipe)
    parts = []

    def record(pairs, values, seed):
        parts.append(pairs.parts)
        raise UserError("enough")

    monkeypatch.setattr(metric_learning, "fit_head", record)
    for values in ({"late_weight": 0.7}, {"late_blocks": 0}):
        with pytest.raises(UserError, match="enough"):
            objective.evaluate(recipe.embedding.model_copy(update=values))

    assert [[part.weight for part in trial] for trial in parts] == [[pytest.approx(0.3), 0.7], [1]]


def test_embedding_without_epochs_is_not_trained(store, base_recipe):
    objective = prepare_embedding_objective(store(1), PRODUCTS, SPLITS, base_recipe)

    with pytest.raises(UserError, match="epochs is 0"):
        objective.evaluate(base_recipe.embedding.model_copy(update={"epochs": 0}))


def test_key_depends_on_recipe(store, base_recipe, changed):
    table = store(1)
    smoother = changed(base_recipe, label_smoothing=0.3)

    keys = {
        prepare_head_objective(table, PRODUCTS, SPLITS, recipe).key
        for recipe in (base_recipe, smoother, changed(base_recipe, head={"epochs": 2}))
    }

    assert len(keys) == 2
