import numpy as np
import pytest

from fb_marketplace.encoding import encode_rows
from fb_marketplace_serving import photos


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


def test_rows_are_encoded_in_batches_in_the_order_asked(stored):
    encoder, rows = Brightness(), [4, 0, 3, 1, 2]

    found = list(encode_rows(encoder, stored, rows, photos_per_batch=2))

    assert [cut for cut, _ in found] == [[4, 0], [3, 1], [2]]
    assert encoder.at_once == [2, 2, 1]
    jpegs = stored.take(rows, ["jpeg"]).column("jpeg").to_pylist()
    expected = [photos.pixels(jpeg).mean() for jpeg in jpegs]
    np.testing.assert_allclose(np.concatenate([encoding for _, encoding in found]), expected)


def test_no_rows_are_no_batches(stored):
    assert list(encode_rows(Brightness(), stored, [], 2)) == []


def test_whoever_stops_early_is_not_kept_waiting(stored):
    batches = encode_rows(Brightness(), stored, [0, 1, 2, 3, 4], 1)
    next(batches)

    batches.close()
