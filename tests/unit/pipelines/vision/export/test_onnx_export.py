from pathlib import Path

import numpy as np
import pytest
import torch

from fb_marketplace.ml.torchvision_compat import import_torchvision
from fb_marketplace.pipelines.vision.export.onnx_export import export_trained, export_trunk
from fb_marketplace.pipelines.vision.models.backbones import BACKBONES, POOL
from fb_marketplace.pipelines.vision.models.embedding_head import (
    EmbeddingHead,
    JoinedHeads,
    Layer,
    block_names,
    make_second_backbone,
    pool_blocks,
)
from fb_marketplace.pipelines.vision.models.network import make_network
from fb_marketplace_serving.encoders.image import Encoder
from fb_marketplace_serving.imaging.canonical import SIDE

TEMPERATURE = 0.4
"""Of the graph that is exported for these tests."""


@pytest.fixture(scope="module")
def encoder(exported):
    return Encoder.from_bytes(exported, threads=1)


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)


def said_by(network, pixels):
    with torch.no_grad():
        return network(torch.from_numpy(pixels)).numpy()


def test_exported_embeddings_equal_network(fitted_network, encoder, pixels):
    with torch.no_grad():
        pooled = fitted_network.maps(torch.from_numpy(pixels))[POOL]
    expected = (pooled / pooled.norm(dim=1, keepdim=True)).numpy()

    np.testing.assert_allclose(encoder.encode(pixels).embeddings, expected, atol=1e-4)


def test_exported_probabilities_use_temperature(fitted_network, encoder, pixels):
    logits = said_by(fitted_network, pixels)
    predicted = encoder.encode(pixels).probabilities

    # Ratios of probabilities are what the temperature changes: exp((a - b) / T).
    ratios = np.log(predicted / predicted[:, :1])
    np.testing.assert_allclose(ratios * TEMPERATURE, logits - logits[:, :1], atol=1e-4)


def test_exported_output_does_not_depend_on_batch(encoder, pixels):
    alone, together = encoder.encode(pixels[:1]), encoder.encode(pixels)

    np.testing.assert_allclose(alone.embeddings[0], together.embeddings[0], atol=1e-5)
    np.testing.assert_allclose(alone.probabilities[0], together.probabilities[0], atol=1e-5)


def test_embeddings_have_unit_norm_and_probabilities_sum_to_one(encoder, pixels):
    exported = encoder.encode(pixels)

    np.testing.assert_allclose(np.linalg.norm(exported.embeddings, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(exported.probabilities.sum(axis=1), 1, atol=1e-5)
    assert (encoder.classes, encoder.dimension) == (3, 256)


def test_export_has_no_local_paths(exported):
    checkout = str(Path(__file__).parents[5])

    for trace in (checkout, "site-packages", ".py"):
        assert trace.encode() not in exported


@pytest.fixture
def short_resnet(monkeypatch):
    """ResNet50 with one block in each of its layers: exported in a fifth of the time."""
    resnet = import_torchvision().models.resnet
    backbone = BACKBONES["resnet50"]._replace(
        make=lambda: resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1])
    )
    monkeypatch.setitem(BACKBONES, "resnet50", backbone)
    return "resnet50"


def test_resnet_exports_its_hidden_layer(base_recipe, changed, short_resnet, pixels):
    network = make_network(changed(base_recipe, backbone=short_resnet), classes=4)
    seen = []
    hook = network.head.fc[1].register_forward_hook(
        lambda layer, given, created: seen.append(created)
    )
    said_by(network, pixels)
    hook.remove()
    hidden = seen[0].numpy()

    graph = export_trained(network, 1.0, Layer(network, "fc.1"))
    encoder = Encoder.from_bytes(graph, threads=1)

    assert hidden.shape == (3, 1000)
    expected = hidden / np.linalg.norm(hidden, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(pixels).embeddings, expected, atol=1e-4)


@pytest.fixture(scope="module")
def network_of_paths(base_recipe):
    """A network with a head of category paths, and an embedding head on its last blocks."""
    network = make_network(base_recipe, classes=4, path_counts=(3, 1, 5, 2))
    with torch.no_grad():
        network.head.fc.weight.mul_(20)
    torch.manual_seed(0)
    return network, EmbeddingHead(192 + 256, 8)


@pytest.fixture(scope="module")
def encoder_of_paths(network_of_paths):
    network, head = network_of_paths
    layer = Layer(network, "metric", head, num_blocks=2)
    return Encoder.from_bytes(export_trained(network, 1.0, layer), threads=1)


def test_category_is_exported_as_sum_of_its_paths(network_of_paths, encoder_of_paths, pixels):
    logits = said_by(network_of_paths[0], pixels)
    expected = torch.from_numpy(logits).softmax(1).numpy()

    assert expected.max() > 0.7
    predicted = encoder_of_paths.encode(pixels).probabilities
    np.testing.assert_allclose(predicted, expected, atol=1e-5)


def test_embedding_head_is_exported_with_the_network(network_of_paths, encoder_of_paths, pixels):
    network, head = network_of_paths
    with torch.no_grad():
        maps = network.maps(torch.from_numpy(pixels))
        expected = head(pool_blocks(maps, block_names(network, 2), 1.0)).numpy()

    assert encoder_of_paths.dimension == 8
    embeddings = encoder_of_paths.encode(pixels).embeddings
    np.testing.assert_allclose(embeddings, expected, atol=1e-4)


def test_second_backbone_is_exported_with_the_network(
    base_recipe, changed, network_of_paths, pixels
):
    network, _ = network_of_paths
    second = make_second_backbone(changed(base_recipe, embedding={"second_backbone": "cnn"}))
    torch.manual_seed(0)
    with torch.no_grad():
        maps, photos = network.maps(torch.from_numpy(pixels)), torch.from_numpy(pixels)
        pooled = torch.cat([pool_blocks(maps, block_names(network, 2), 1.0), second(photos)], 1)
        head = JoinedHeads([192 + 256, pooled.shape[1] - 448], 8)
        expected = head(pooled).numpy()

    layer = Layer(network, "metric", head, num_blocks=2, second=second)
    encoder = Encoder.from_bytes(export_trained(network, 1.0, layer), threads=1)

    np.testing.assert_allclose(encoder.encode(pixels).embeddings, expected, atol=1e-4)


def test_bare_backbone_exports_pooled_features(base_recipe, pixels):
    trunk = make_network(base_recipe, classes=1)
    with torch.no_grad():
        expected = trunk.trunk(trunk.prepare(torch.from_numpy(pixels))).numpy()

    encoder = Encoder.from_bytes(export_trunk(base_recipe), threads=1)

    np.testing.assert_allclose(encoder.encode(pixels).embeddings, expected, atol=1e-3, rtol=1e-3)
