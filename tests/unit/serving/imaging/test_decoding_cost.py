import io
import subprocess
import sys

import pytest
from PIL import Image
from support.files.image_bytes import chunk, extended_webp, flat_webp, picture, png

from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.imaging.canonical import Limits, PhotoError

SIDE = 3000

STRIPS = 24_000_000
"""Bytes of the strips in which modes are converted, whatever the size of the photo."""

MEASURE = """
import sys
from fb_marketplace_serving.imaging import canonical

def read(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if name in line) * 1024

for name in sys.argv[1:]:
    data = open(name, "rb").read()
    open("/proc/self/clear_refs", "w").write("5")  # resets the peak
    before = read("VmRSS")
    canonical.canonicalize(data)
    print(read("VmHWM") - before)
"""
"""Prints the memory that each file takes to decode."""

PHOTOS = {
    "JPEG": lambda: encoded("JPEG", "RGB"),
    "grey JPEG": lambda: encoded("JPEG", "L"),
    "CMYK JPEG": lambda: encoded("JPEG", "CMYK"),
    "progressive JPEG": lambda: encoded("JPEG", "RGB", progressive=True),
    "progressive JPEG, full colour": lambda: encoded(
        "JPEG", "RGB", progressive=True, subsampling=0
    ),
    "MPO": lambda: encoded("MPO", "RGB", save_all=True, append_images=[picture()]),
    "PNG": lambda: encoded("PNG", "RGB", compress_level=1),
    "PNG with alpha": lambda: encoded("PNG", "RGBA", compress_level=1),
    "PNG with a palette": lambda: encoded("PNG", "P"),
    "grey PNG": lambda: encoded("PNG", "L"),
    "grey PNG with alpha": lambda: png(SIDE, SIDE, 8, 4),
    "PNG of 16 bits": lambda: png(SIDE, SIDE, 16, 0),
    "PNG with alpha of 16 bits": lambda: png(SIDE, SIDE, 16, 6),
    "WebP": lambda: encoded("WEBP", "RGB", method=0),
    "lossless WebP": lambda: flat_webp(SIDE, SIDE),
    "moving WebP": lambda: encoded(
        "WEBP", "RGB", method=0, save_all=True, append_images=[Image.new("RGB", (SIDE, SIDE))]
    ),
}


def encoded(format_: str, mode: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (SIDE, SIDE)).save(buffer, format_, **options)
    return buffer.getvalue()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_decoding_takes_about_the_estimated_memory(tmp_path):
    photos = {name: make() for name, make in PHOTOS.items()}
    files = [tmp_path / str(number) for number in range(len(photos))]
    for file, photo in zip(files, photos.values(), strict=True):
        file.write_bytes(photo)

    # The first photo is measured twice: it also imports the decoders.
    command = [sys.executable, "-c", MEASURE, *map(str, files[:1] + files)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[1:]

    wrong = {
        name: (used, estimated)
        for name, used, photo in zip(photos, map(int, lines), photos.values(), strict=True)
        if not used - STRIPS
        < (estimated := canonical.estimate_cost(photo).memory)
        < 2 * used + STRIPS
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("size", "message"),
    [((1, 70_000), "65,535 a side"), ((70_000, 1), "65,535 a side"), ((9000, 9000), "64,000,000")],
)
def test_png_with_a_long_side_or_many_pixels_is_rejected(size, message):
    with pytest.raises(PhotoError, match=message) as caught:
        canonical.estimate_cost(png(*size, rows=b""))

    assert caught.value.reason == "too_many_pixels"


@pytest.mark.parametrize(
    "photo",
    [
        extended_webp(8000, 7999),
        flat_webp(8000, 7999),
        png(7000, 7000, 8, 6, rows=b""),
        png(7500, 7500, 8, 3, before=chunk(b"PLTE", bytes(768)), rows=b""),
    ],
)
def test_photo_that_takes_more_than_the_allowed_memory_is_rejected(photo):
    with pytest.raises(PhotoError, match="MB to decode; at most 256") as caught:
        canonical.canonicalize(photo)

    assert caught.value.reason == "too_many_pixels"


def test_memory_limit_can_be_raised():
    photo = encoded("WEBP", "RGB", method=0)
    memory = canonical.estimate_cost(photo).memory

    with pytest.raises(PhotoError, match="to decode"):
        canonical.canonicalize(photo, Limits(max_memory=memory - 1))
    assert canonical.canonicalize(photo, Limits(max_memory=memory))
