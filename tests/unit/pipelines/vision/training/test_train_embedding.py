import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.vision.models.embedding_head import (
    block_names,
    block_slices,
    pool_blocks,
)
from fb_marketplace.pipelines.vision.training.train_embedding import (
    embed_layers,
    embedding_layer,
    photos_to_pair,
    train_embedding_head,
    train_hidden_layer,
)
from fb_marketplace.schemas.lance import VISION_FEATURES
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import sha256

LABELS = ["Blue", "Green", "Red"]


@pytest.fixture(scope="module")
def cuts(fitted_network, base_recipe):
    names = block_names(fitted_network, base_recipe.embedding.num_blocks)
    return block_slices(fitted_network, names)


@pytest.fixture(scope="module")
def market(tmp_path_factory, cuts):
    """Twenty-four listings of two photos each, which have most of their features in common."""
    random = np.random.default_rng(0)
    names = [f"{listing:02}.{photo}" for listing in range(24) for photo in (1, 2)]
    width = cuts["pool"].stop
    features = np.repeat(random.normal(size=(24, width)), 2, axis=0)
    features = np.abs(features + 0.3 * random.normal(size=features.shape)).astype(np.float32)
    rows = [
        {"key": name, "image_id": name, "features": result}
        for name, result in zip(names, features, strict=True)
    ]
    url = str(tmp_path_factory.mktemp("levels") / "levels.lance")
    keyed_table.ensure_table(url, VISION_FEATURES)
    table_writer.insert(url, pa.Table.from_pylist(rows, schema=VISION_FEATURES))
    owners = [name[:2] for name in names]
    split = ["train"] * 32 + ["validation"] * 8 + ["test"] * 8
    splits = pd.DataFrame(
        {"image_id": names, "product_id": owners, "group": owners, "split": split}
    )
    ids = sorted(set(owners))
    category = [LABELS[place % 3] for place in range(24)]
    products = pd.DataFrame({"product_id": ids, "category": category, "category_path": category})
    return keyed_table.open_table(url), products, splits


def test_head_records_its_inputs(market, model, base_recipe, tmp_path):
    trained = train_embedding_head(*market, model, base_recipe)

    path = tmp_path / "head.safetensors"
    path.write_bytes(trained.embedding_head)
    with safe_open(path, "pt") as opened:
        card = json.loads(opened.metadata()["card"])
    assert card["recipe"] == base_recipe.embedding.model_dump(mode="json")
    assert len(trained.embedding_history) == 1 + base_recipe.embedding.epochs


def test_trained_head_is_the_served_layer(market, model, fitted_network, base_recipe):
    trained = train_embedding_head(*market, model, base_recipe)
    layer = embedding_layer(
        fitted_network, sha256(model.read()), trained.embedding_head, base_recipe
    )
    pixels = torch.randint(0, 256, (2, 256, 256, 3), dtype=torch.uint8)
    with torch.no_grad():
        maps = fitted_network.maps(pixels)
        result = layer(maps, torch.zeros(1, 1))

    names = block_names(fitted_network, base_recipe.embedding.num_blocks)
    weights = load(trained.embedding_head)
    expected = pool_blocks(maps, names, base_recipe.embedding.gem_p) @ weights["project.weight"].T
    expected = expected + weights["project.bias"]
    torch.testing.assert_close(result, expected / expected.norm(dim=1, keepdim=True))


@pytest.mark.parametrize(
    ("model_sha256", "values"),
    [
        ("another model", {}),
        (None, {"embedding": {"gem_p": 3.0}}),
        (None, {"embedding": {"num_blocks": 2}}),
        (None, {"embedding": {"second_backbone": "cnn"}}),
    ],
)
def test_head_of_other_levels_is_rejected(
    market, model, fitted_network, base_recipe, changed, model_sha256, values
):
    trained = train_embedding_head(*market, model, base_recipe)

    with pytest.raises(UserError, match=r"blocks.*kedro run --pipeline=vision"):
        embedding_layer(
            fitted_network,
            model_sha256 or sha256(model.read()),
            trained.embedding_head,
            changed(base_recipe, **values),
        )


def test_side_does_not_matter_without_a_second_backbone(
    market, model, fitted_network, base_recipe, changed
):
    head = train_embedding_head(*market, model, base_recipe).embedding_head
    other = changed(base_recipe, embedding={"second_input_side": 96})

    assert embedding_layer(fitted_network, sha256(model.read()), head, other).second is None


def test_photos_to_pair_are_sampled_by_group(market, base_recipe, changed):
    *_, splits = market
    few = changed(base_recipe, embedding={"max_photos": 20})

    sample, photos = (photos_to_pair(splits, recipe) for recipe in (few, base_recipe))

    assert len(sample) == 20
    assert sample.groupby("group").size().eq(2).all()
    assert photos["split"].tolist() == ["train"] * 32 + ["validation"] * 8


@pytest.mark.parametrize("seed", range(5))
def test_photos_to_pair_of_unequal_groups_are_at_most_the_maximum(base_recipe, changed, seed):
    groups = ["large"] * 90 + ["medium"] * 8 + [f"small {number}" for number in range(10)]
    splits = pd.DataFrame({"image_id": range(len(groups)), "group": groups, "split": "train"})
    recipe = changed(base_recipe, seed=seed, embedding={"max_photos": 20})

    sizes = photos_to_pair(splits, recipe)["group"].value_counts()

    assert sizes.sum() == 18
    assert "large" not in sizes


def test_head_without_pairs_is_insufficient(market, model, base_recipe):
    table, products, splits = market
    alone = splits.assign(group=splits["image_id"])

    with pytest.raises(InsufficientDataError, match=r"\b0\b"):
        train_embedding_head(table, products, alone, model, base_recipe)


def test_zero_epochs_train_no_head(market, model, fitted_network, base_recipe, changed):
    recipe = changed(base_recipe, embedding={"epochs": 0, "layer": "pool"})

    trained = train_embedding_head(*market, model, recipe)

    assert trained == (b"", [])
    embedding_layer(fitted_network, sha256(model.read()), trained.embedding_head, recipe)


@pytest.fixture
def hidden(market, model, base_recipe, tmp_path):
    path = tmp_path / "hidden.safetensors"
    path.write_bytes(train_hidden_layer(*market, model, LABELS, base_recipe))
    return FileRef(str(path))


def test_layers_are_unit_length_for_evaluated_photos(market, model, hidden, cuts, base_recipe):
    table = embed_layers(*market, model, hidden, LABELS, base_recipe)

    assert list(table.columns) == ["image_id", "layer", "embedding"]
    assert list(table["layer"].unique()) == [*cuts, "fc.1"]
    result = table[table["layer"] == "pool"]
    assert result["image_id"].tolist() == [f"{p:02}.{n}" for p in range(16, 24) for n in (1, 2)]
    features = market[0].vectors(range(32, 48), "features")[:, cuts["pool"]]
    expected = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(np.stack(result["embedding"]), expected, atol=1e-6)


def test_resnet50_hidden_layer_has_1000_nonnegative_units(market, model, hidden, base_recipe):
    table = embed_layers(*market, model, hidden, LABELS, base_recipe)

    units = np.stack(table.loc[table["layer"] == "fc.1", "embedding"])
    assert units.shape == (16, 1000)
    assert units.min() >= 0
