from pathlib import Path

import numpy as np
import pytest

from fb_marketplace.pipelines.vision.backbones import BACKBONES
from fb_marketplace.pipelines.vision.network import assemble, export
from fb_marketplace_serving.encoder import Encoder
from fb_marketplace_serving.photos import SIDE


@pytest.fixture(scope="module")
def network(told):
    import torch

    torch.manual_seed(0)
    random = np.random.default_rng(0)
    weight = random.normal(0, 3, (4, BACKBONES[told.backbone].features)).astype(np.float32)
    return assemble(told, weight, np.float32([0, 1, 2, 3]))


@pytest.fixture(scope="module")
def exported(network):
    return export(network)


@pytest.fixture(scope="module")
def encoder(exported):
    return Encoder.from_bytes(exported, threads=2)


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)


def test_the_export_answers_as_the_network_does(network, encoder, pixels):
    import torch

    with torch.no_grad():
        probabilities, embeddings = (part.numpy() for part in network(torch.from_numpy(pixels)))
    exported = encoder.encode(pixels)

    np.testing.assert_allclose(exported.probabilities, probabilities, atol=1e-4)
    np.testing.assert_allclose(exported.embeddings, embeddings, atol=1e-4)


def test_the_export_answers_for_one_photo_as_for_many(encoder, pixels):
    alone, together = encoder.encode(pixels[:1]), encoder.encode(pixels)

    np.testing.assert_allclose(alone.embeddings[0], together.embeddings[0], atol=1e-5)


def test_embeddings_have_length_one_and_probabilities_sum_to_one(encoder, pixels):
    exported = encoder.encode(pixels)

    np.testing.assert_allclose(np.linalg.norm(exported.embeddings, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(exported.probabilities.sum(axis=1), 1, atol=1e-5)
    assert (encoder.classes, encoder.dimension) == (4, 1280)


def test_an_export_does_not_say_where_it_was_made(exported):
    checkout = str(Path(__file__).parents[3])

    for trace in (checkout, "site-packages", ".py"):
        assert trace.encode() not in exported
