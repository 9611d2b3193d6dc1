import contextlib
import io
import struct
import time

import numpy as np
import pytest
from PIL import Image

from fb_marketplace_serving.imaging.avif_structure import MAX_ITEMS, coded_pixels


def avif(size=(300, 200), mode="RGB", **options):
    buffer = io.BytesIO()
    Image.new(mode, size, 99).save(buffer, "AVIF", speed=10, **options)
    return buffer.getvalue()


def box(kind, content):
    return struct.pack(">I", 8 + len(content)) + kind + content


def avif_boxes(kinds, parts, sizes=b"\x44\x00", media=b""):
    """Return the boxes of an AVIF file whose first item has parts, each as the list of items has it."""
    infe = [
        box(b"infe", b"\2\0\0\0" + struct.pack(">HH4s", number, 0, kind) + b"\0")
        for number, kind in enumerate(kinds, 1)
    ]
    iinf = box(b"iinf", bytes(4) + struct.pack(">H", len(infe)) + b"".join(infe))
    items = struct.pack(">HHHH", 1, 1, 0, len(parts)) + b"".join(parts)
    iloc = box(b"iloc", bytes(4) + sizes + items)
    return box(b"meta", bytes(4) + iinf + iloc) + box(b"mdat", media)


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


def test_many_parts_of_an_item_are_joined_in_no_time():
    parts = [struct.pack(">II", 0, 8_000_000)] + [struct.pack(">II", 0, 1)] * (MAX_ITEMS - 1)
    data = avif_boxes([b"av01"], parts, media=bytes(8_000_000))

    started = time.perf_counter()
    assert coded_pixels(data) == 0
    assert time.perf_counter() - started < 1


def test_too_many_parts_of_items_are_refused():
    with pytest.raises(ValueError, match="4,096 parts"):
        coded_pixels(avif_boxes([b"av01"], [b""] * (MAX_ITEMS + 1), sizes=bytes(2)))


def test_picture_after_too_many_items_is_not_overlooked():
    with pytest.raises(ValueError, match="4,096 boxes"):
        coded_pixels(avif_boxes([b"Exif"] * MAX_ITEMS + [b"av01"], []))
