from operator import itemgetter

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from fb_marketplace.pipelines.vision.export import block_features
from fb_marketplace.pipelines.vision.export.block_features import extract_block_features
from fb_marketplace.pipelines.vision.models.embedding_head import (
    block_names,
    block_slices,
    pool_blocks,
)
from fb_marketplace_serving.imaging.canonical import decode_canonical
from fb_marketplace_serving.imaging.letterbox import stretch_content

LABELS = ["Blue", "Green", "Red"]


def read(images, model, base_recipe, existing=frozenset()):
    retained, *batches = extract_block_features(images, existing, model, LABELS, base_recipe)
    rows = [row for batch in batches for row in batch.to_pylist()]
    return retained.keys, sorted(rows, key=itemgetter("image_id"))


def keys_of(images, model, base_recipe):
    """Under which keys levels are kept; they come first, before any is taken."""
    return next(extract_block_features(images, frozenset(), model, LABELS, base_recipe)).keys


@pytest.fixture(scope="module")
def generalized(base_recipe, changed):
    """A recipe whose pooling is no plain mean."""
    return changed(base_recipe, embedding={"gem_p": 2.0})


@pytest.fixture(scope="module")
def extracted(marketplace, model, generalized):
    """The keys and the rows of all photos."""
    return read(marketplace.images, model, generalized)


def test_each_photo_has_its_block_features(extracted, fitted_network, base_recipe):
    keys, rows = extracted

    names = block_names(fitted_network, base_recipe.embedding.num_blocks)
    width = block_slices(fitted_network, names)["pool"].stop
    assert [row["image_id"] for row in rows] == [f"{place:02}" for place in range(36)]
    assert {row["key"] for row in rows} == keys
    assert np.asarray([row["features"] for row in rows]).shape == (36, width)


def test_block_features_equal_torch_pooling(marketplace, extracted, fitted_network):
    table = marketplace.images.read(["image_id", "jpeg"]).to_pylist()
    jpegs = {row["image_id"]: row["jpeg"] for row in table}
    rows = extracted[1][:3]
    pixels = np.stack([stretch_content(decode_canonical(jpegs[row["image_id"]])) for row in rows])
    with torch.no_grad():
        maps = fitted_network.maps(torch.from_numpy(pixels))
        expected = pool_blocks(maps, block_names(fitted_network, 3), 2.0).numpy()

    features = np.asarray([row["features"] for row in rows])
    np.testing.assert_allclose(features, expected, atol=1e-3, rtol=1e-3)


def test_blocks_of_the_second_backbone_follow(marketplace, model, base_recipe, changed):
    recipe = changed(base_recipe, embedding={"second_backbone": "cnn"})

    _, rows = read(marketplace.images, model, recipe)
    _, alone = read(marketplace.images, model, base_recipe)

    features, first = (np.asarray([row["features"] for row in table]) for table in (rows, alone))
    assert features.shape == (36, 2 * first.shape[1])
    np.testing.assert_allclose(features[:, : first.shape[1]], first, atol=1e-5)


def test_existing_block_features_are_reused(marketplace, model, base_recipe, monkeypatch):
    keys = keys_of(marketplace.images, model, base_recipe)
    monkeypatch.setattr(block_features, "export_blocks", None)

    assert read(marketplace.images, model, base_recipe, keys) == (keys, [])


@pytest.mark.parametrize(
    ("values", "differs"),
    [
        ({"embedding": {"num_blocks": 2}}, True),
        ({"embedding": {"gem_p": 3.0}}, True),
        ({"embedding": {"second_backbone": "cnn"}}, True),
        ({"embedding": {"second_input_side": 96}}, False),
        ({"input_side": 96}, True),
        ({"embedding": {"epochs": 9}}, False),
        ({"embedding": {"loss": "triplet"}}, False),
    ],
)
def test_block_features_depend_on_their_inputs_only(
    marketplace, model, base_recipe, changed, values, differs
):
    before = keys_of(marketplace.images, model, base_recipe)

    assert (keys_of(marketplace.images, model, changed(base_recipe, **values)) != before) is differs


@pytest.mark.parametrize("library", ["timm", "torch", "torchvision", "pillow"])
def test_block_features_depend_on_libraries(
    marketplace, model, base_recipe, update_library, library
):
    before = keys_of(marketplace.images, model, base_recipe)
    update_library(library)

    assert keys_of(marketplace.images, model, base_recipe) != before


@pytest.mark.parametrize(
    ("part", "shift", "card", "differs"),
    [
        ("trunk.", 0.0, {"code_revision": "another"}, False),
        ("trunk.", 0.1, None, True),
        ("head.fc.", 0.1, None, False),
    ],
)
def test_block_features_depend_on_the_weights_of_the_trunk_only(
    marketplace, model, base_recipe, part, shift, card, differs
):
    class Other:
        def read(self):
            weights = load(model.read())
            name = next(
                name
                for name in weights
                if name.startswith(part) and weights[name].is_floating_point()
            )
            weights[name] = weights[name] + shift
            return save(weights, card)

    before = keys_of(marketplace.images, model, base_recipe)

    assert (keys_of(marketplace.images, Other(), base_recipe) != before) is differs
