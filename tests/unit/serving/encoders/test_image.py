import numpy as np
import pytest
from onnx import TensorProto

from fb_marketplace_serving.encoders.image import Encoder, EncoderError


def test_encode_returns_probabilities_and_unit_embeddings(encoder):
    photos = np.zeros((3, 256, 256, 3), np.uint8)
    photos[0, ..., 0] = photos[1, ..., 1] = photos[2, ..., 2] = 255

    probabilities, embeddings = encoder.encode(photos)

    assert probabilities.dtype == embeddings.dtype == np.float32
    assert (probabilities.shape, embeddings.shape) == ((3, 3), (3, 8))
    assert probabilities.argmax(axis=1).tolist() == [0, 1, 2]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


def test_encoder_exposes_classes_and_dimension(build_encoder):
    encoder = Encoder.from_bytes(build_encoder(classes=5, dimension=11))

    assert (encoder.classes, encoder.dimension) == (5, 11)


def test_encode_of_no_photos_returns_no_rows(encoder):
    probabilities, embeddings = encoder.encode(np.empty((0, 256, 256, 3), np.uint8))

    assert (probabilities.shape, embeddings.shape) == ((0, 3), (0, 8))


def test_encode_accepts_strided_view(encoder):
    wide = np.random.default_rng(0).integers(0, 256, (2, 256, 512, 3), np.uint8)

    pattern = encoder.encode(wide[:, :, ::2])

    expected = encoder.encode(wide[:, :, ::2].copy())
    np.testing.assert_array_equal(pattern.embeddings, expected.embeddings)


@pytest.mark.parametrize(
    "photos",
    [
        np.zeros((1, 256, 256, 3), np.float32),
        np.zeros((256, 256, 3), np.uint8),
        np.zeros((1, 224, 224, 3), np.uint8),
    ],
    ids=["dtype", "no batch", "size"],
)
def test_encode_rejects_other_shape_or_dtype(encoder, photos):
    with pytest.raises(ValueError, match=r"uint8 \(n, 256, 256, 3\)"):
        encoder.encode(photos)


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        ({"input_name": "image"}, "image tensor"),
        ({"input_type": TensorProto.FLOAT}, r"pixels tensor\(float\)"),
        ({"side": 224}, "224, 224, 3"),
        ({"batch": 1}, r"\[1, 256, 256, 3\]"),
        ({"embedding_name": "features"}, "features tensor"),
    ],
    ids=["input name", "input type", "size", "fixed batch", "output name"],
)
def test_model_that_is_no_encoder_is_rejected(build_encoder, change, pattern):
    with pytest.raises(EncoderError, match=pattern):
        Encoder.from_bytes(build_encoder(**change))


@pytest.mark.parametrize("data", [b"", b"no model", b"\x08\x07"])
def test_invalid_model_bytes_give_one_line_error(data):
    with pytest.raises(EncoderError, match="ONNX") as caught:
        Encoder.from_bytes(data)

    assert "\n" not in str(caught.value)
