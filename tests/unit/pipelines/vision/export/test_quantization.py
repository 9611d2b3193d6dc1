import numpy as np
import pytest

from fb_marketplace.ml.batch_inference import encode_rows
from fb_marketplace.pipelines.vision.export.quantization import quantize


@pytest.fixture(scope="module")
def int8(exported, marketplace):
    return quantize(exported, marketplace.images, range(12))


def answers(graph, images):
    return encode_rows(graph, images, list(range(36)))


def test_quantized_output_is_near_fp32(exported, int8, marketplace):
    expected_probabilities, expected = answers(exported, marketplace.images)
    probabilities, embeddings = answers(int8, marketplace.images)

    assert np.sum(expected * embeddings, axis=1).min() > 0.9
    np.testing.assert_allclose(probabilities, expected_probabilities, atol=0.1)


def test_quantized_embeddings_have_unit_norm(int8, marketplace):
    probabilities, embeddings = answers(int8, marketplace.images)

    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-4)


def test_quantized_encoder_is_smaller(exported, int8):
    assert len(int8) < 0.5 * len(exported)


def test_quantization_is_deterministic(exported, int8, marketplace):
    assert quantize(exported, marketplace.images, range(12)) == int8


def test_ranges_are_observed_on_the_photos(exported, int8, marketplace):
    assert quantize(exported, marketplace.images, range(12, 24)) != int8
