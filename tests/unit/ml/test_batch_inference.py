import threading

import numpy as np
import pyarrow as pa
import pytest

from fb_marketplace.compute import shards
from fb_marketplace.ml import batch_inference
from fb_marketplace.ml.batch_inference import encode_missing, encode_rows
from fb_marketplace_serving.encoders.image import Encoding
from fb_marketplace_serving.imaging import canonical

KEYS = pa.array([f"key {number}" for number in range(5)])


class Brightness:
    """Encodes a photo by its mean; writes down how many photos came at once."""

    def __init__(self):
        self.batch_sizes = []

    def encode(self, batch):
        self.batch_sizes.append(len(batch))
        means = batch.mean(axis=(1, 2, 3), dtype=np.float64).astype(np.float32)[:, None]
        return Encoding(means / 255, means)


@pytest.fixture
def stored(store_photos, draw_photo):
    return store_photos({f"photo {seed}": draw_photo(seed) for seed in range(5)})


@pytest.fixture
def opened(monkeypatch):
    """Uses an encoder instead of a graph."""
    return lambda encoder: monkeypatch.setattr(batch_inference, "open_encoder", lambda _: encoder)


def missing(images, existing=(), size=1):
    return encode_missing(lambda: b"", images, KEYS, existing, lambda rows: rows, size, size)


def test_encodings_are_in_requested_order(stored, opened, monkeypatch):
    monkeypatch.setattr(batch_inference, "PHOTOS_PER_SHARD", 2)
    opened(Brightness())
    rows = [4, 0, 3, 1, 2]

    result = encode_rows(b"", stored, rows)

    jpegs = stored.take(rows, ["jpeg"]).column("jpeg").to_pylist()
    expected = [[canonical.decode_canonical(jpeg).mean()] for jpeg in jpegs]
    np.testing.assert_allclose(result.embeddings, expected, rtol=1e-6)
    np.testing.assert_allclose(result.probabilities, np.array(expected) / 255, rtol=1e-6)


def test_missing_photos_are_encoded_once(stored, opened):
    encoder = Brightness()
    opened(encoder)

    rows = pa.concat_tables(missing(stored, ["key 1", "key 3"], size=2)).sort_by("key")

    photos = stored.take([0, 2, 4], ["image_id", "sha256"])
    assert rows["key"].to_pylist() == ["key 0", "key 2", "key 4"]
    assert rows["image_id"] == photos["image_id"]
    assert rows["sha256"] == photos["sha256"]
    assert sorted(encoder.batch_sizes) == [1, 2]


def test_encoder_is_not_loaded_without_missing_photos(stored):
    assert list(encode_missing(pytest.fail, stored, KEYS, KEYS.to_pylist(), None)) == []


@pytest.mark.parametrize("cores", [2, 3])
def test_each_core_has_its_own_shard(stored, opened, monkeypatch, cores):
    monkeypatch.setattr(shards, "available_cores", lambda: cores)
    together = threading.Barrier(cores, timeout=30)

    class Waiting(Brightness):
        def encode(self, batch):
            if len(self.batch_sizes) < cores:
                together.wait()
            return super().encode(batch)

    opened(Waiting())

    assert sum(map(len, missing(stored))) == 5


def test_batch_error_is_raised_to_the_caller(stored, opened):
    class Failing:
        def encode(self, batch):
            raise ValueError("no such shape")

    opened(Failing())

    with pytest.raises(ValueError, match="no such shape"):
        list(missing(stored))
