import io

import numpy as np
import pytest
from PIL import Image

from fb_marketplace.ml.thumbnails import load_thumbnails, to_thumbnail
from fb_marketplace_serving.imaging import canonical


def painted(colour) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("side", [8, 32, 64])
def test_thumbnail_is_mean_of_pixels(draw_photo, side):
    jpeg = canonical.canonicalize(draw_photo(3, (256, 256)))
    square = 256 // side
    means = (
        canonical.decode_canonical(jpeg).reshape(side, square, side, square, 3).mean(axis=(1, 3))
    )

    result = to_thumbnail(jpeg, side)

    assert result.shape == (side, side, 3)
    assert np.abs(result - means).mean() < 3


def test_thumbnails_are_in_order_of_ids(store_photos):
    images = store_photos({"b": painted((255, 255, 255)), "a": painted((0, 0, 0))})

    result = load_thumbnails(images, 8)

    assert result.image_ids == ["a", "b"]
    assert result.pixels.mean(axis=1) == pytest.approx([-0.5, 0.5], abs=0.02)


def test_only_wanted_photos_are_read(store_photos):
    images = store_photos({item: painted((255, 255, 255)) for item in "cab"})

    result = load_thumbnails(images, 8, frozenset("ca"))

    assert result.image_ids == ["a", "c"]
    assert result.pixels.shape == (2, 8 * 8 * 3)
