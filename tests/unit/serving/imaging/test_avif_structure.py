import contextlib
import io

import numpy as np
import pytest
from PIL import Image

from fb_marketplace_serving.imaging.avif_structure import coded_pixels


def avif(size=(300, 200), mode="RGB", **options):
    buffer = io.BytesIO()
    Image.new(mode, size, 99).save(buffer, "AVIF", speed=10, **options)
    return buffer.getvalue()


PHOTO = avif()


@pytest.mark.parametrize("size", [(1, 1), (65, 3), (300, 200), (1920, 1080)])
@pytest.mark.parametrize(("mode", "pictures"), [("RGB", 1), ("L", 1), ("RGBA", 2)])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_pictures_are_as_large_as_they_are_coded(size, mode, pictures, subsampling):
    data = avif(size, mode, subsampling=subsampling)

    assert coded_pixels(data) == pictures * size[0] * size[1]


def test_sequence_has_the_pictures_of_its_first_frame():
    frames = [Image.new("RGB", (300, 200))] * 3

    data = avif(save_all=True, append_images=frames)

    assert data[8:12] == b"avis"
    assert coded_pixels(data) == 300 * 200


@pytest.mark.parametrize("seed", range(200))
def test_damaged_file_gives_a_number_or_value_error(seed):
    rng = np.random.default_rng(seed)
    data = np.frombuffer(PHOTO, dtype=np.uint8)[: rng.integers(20, 600)].copy()
    data[rng.integers(0, min(400, len(data)), 5)] = rng.integers(0, 256, 5)

    with contextlib.suppress(ValueError):
        assert coded_pixels(data.tobytes()) >= 0
