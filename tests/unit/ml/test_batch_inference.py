import threading

import numpy as np
import pytest

from fb_marketplace.ml import batch_inference
from fb_marketplace.ml.batch_inference import encode_rows
from fb_marketplace_serving.imaging import canonical


class Brightness:
    """Encodes a photo by its mean; writes down how many photos came at once."""

    def __init__(self):
        self.at_once = []

    def encode(self, batch):
        self.at_once.append(len(batch))
        return batch.mean(axis=(1, 2, 3))


@pytest.fixture
def stored(store_photos, draw_photo):
    return store_photos({f"photo {seed}": draw_photo(seed) for seed in range(5)})


def test_batches_are_in_requested_order(stored):
    encoder, rows = Brightness(), [4, 0, 3, 1, 2]

    result = list(encode_rows(encoder, stored, rows, photos_per_batch=2))

    assert [cut for cut, _ in result] == [[4, 0], [3, 1], [2]]
    assert sorted(encoder.at_once) == [1, 2, 2]
    jpegs = stored.take(rows, ["jpeg"]).column("jpeg").to_pylist()
    expected = [canonical.decode_canonical(jpeg).mean() for jpeg in jpegs]
    np.testing.assert_allclose(np.concatenate([item for _, item in result]), expected)


def test_no_rows_give_no_batches(stored):
    assert list(encode_rows(Brightness(), stored, [], 2)) == []


@pytest.mark.parametrize("cores", [1, 3])
def test_each_core_has_its_own_batch(stored, monkeypatch, cores):
    monkeypatch.setattr(batch_inference, "available_cores", lambda: cores)
    together = threading.Barrier(cores, timeout=30)

    class Waiting(Brightness):
        def encode(self, batch):
            together.wait()
            return super().encode(batch)

    result = list(encode_rows(Waiting(), stored, [3, 0, 2], photos_per_batch=1))

    assert [cut for cut, _ in result] == [[3], [0], [2]]


def test_batches_are_prefetched(stored, monkeypatch):
    monkeypatch.setattr(batch_inference, "available_cores", lambda: 1)
    last = threading.Event()

    class Telling(Brightness):
        def encode(self, batch):
            result = super().encode(batch)
            if len(self.at_once) == 5:
                last.set()
            return result

    batches = encode_rows(Telling(), stored, [0, 1, 2, 3, 4], 1)
    next(batches)

    assert last.wait(30)


def test_early_stop_waits_for_running_batch_only(stored, monkeypatch):
    monkeypatch.setattr(batch_inference, "available_cores", lambda: 1)
    stopped = threading.Event()

    class Slow(Brightness):
        def encode(self, batch):
            result = super().encode(batch)
            if len(self.at_once) == 2:
                stopped.wait(30)
            return result

    encoder = Slow()
    batches = encode_rows(encoder, stored, [0, 1, 2, 3, 4], 1)
    next(batches)
    threading.Timer(0.2, stopped.set).start()

    batches.close()

    assert len(encoder.at_once) <= 2


def test_batch_error_is_raised_to_the_caller(stored):
    class Failing:
        def encode(self, batch):
            raise ValueError("no such shape")

    with pytest.raises(ValueError, match="no such shape"):
        list(encode_rows(Failing(), stored, [0, 1], 1))
