"""Content boxes and stretched content, on pictures drawn here."""

import io

import numpy as np
import pytest
from PIL import Image

from fb_marketplace_serving.imaging.canonical import SIDE, canonicalize, decode_canonical
from fb_marketplace_serving.imaging.letterbox import content_box, photo_box, stretch_content

FULL = (0, 0, SIDE, SIDE)


def picture(size: tuple[int, int]) -> Image.Image:
    random = np.random.default_rng(7)
    field = random.integers(40, 216, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(field).resize(size, Image.Resampling.BICUBIC)


def stored(image: Image.Image, quality: int = 90) -> np.ndarray:
    """Save a picture as a JPEG, and return its canonical photo."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return decode_canonical(canonicalize(file.getvalue()))


def grey(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).convert("L"))


@pytest.fixture
def letterboxed():
    """A photo of four bright quarters, as wide as the square and half as high, between black bars."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[64:128, :128] = (200, 60, 60)
    pixels[64:128, 128:] = (60, 200, 60)
    pixels[128:192, :128] = (60, 60, 200)
    pixels[128:192, 128:] = (200, 200, 200)
    return pixels


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((320, 240), (0, 32, 256, 224)),
        ((240, 320), (32, 0, 224, 256)),
        ((256, 256), FULL),
    ],
)
def test_content_is_inside_letterbox_bars(size, box):
    pixels = stored(picture(size))

    assert np.abs(np.subtract(content_box(grey(pixels)), box)).max() <= 1
    assert np.abs(np.subtract(photo_box(pixels), box)).max() <= 1


def test_bars_of_a_low_quality_jpeg_are_no_content():
    framed = Image.new("RGB", (320, 240))
    framed.paste(picture((180, 240)), (70, 0))
    pixels = stored(framed, quality=40)

    assert np.abs(np.subtract(content_box(grey(pixels)), (56, 32, 200, 224))).max() <= 2
    assert np.abs(np.subtract(photo_box(pixels), (56, 32, 200, 224))).max() <= 2


def test_blue_content_is_no_bar():
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[64:192] = (0, 0, 120)  # its grey level is 14

    assert photo_box(pixels) == (0, 64, SIDE, 192)


def test_dark_edge_on_one_side_is_content():
    pixels = np.full((SIDE, SIDE), 120, np.uint8)
    pixels[:, :60] = 0

    assert content_box(pixels) == FULL


@pytest.mark.parametrize("level", [0, 10])
def test_black_picture_is_all_content(level):
    assert content_box(np.full((64, 64), level, np.uint8)) == (0, 0, 64, 64)


@pytest.mark.parametrize("bright", [0, 10])
def test_dark_photo_is_not_stretched(bright):
    pixels = np.full((SIDE, SIDE, 3), 5, np.uint8)
    pixels[:bright, :bright] = 255

    assert stretch_content(pixels) is pixels


@pytest.mark.parametrize("transposed", [False, True])
def test_content_is_stretched_over_the_bars(letterboxed, transposed):
    photo = letterboxed.transpose(1, 0, 2) if transposed else letterboxed

    stretched = stretch_content(photo)

    assert (stretched.dtype, stretched.shape) == (np.uint8, photo.shape)
    assert photo_box(stretched) == FULL
    expected = letterboxed[64:192].repeat(2, axis=0)
    expected = expected.transpose(1, 0, 2) if transposed else expected
    # Borders of quarters are interpolated.
    assert (np.abs(stretched.astype(int) - expected).max(axis=2) > 1).mean() < 0.05


def test_stretched_photo_is_not_stretched_again(letterboxed):
    stretched = stretch_content(letterboxed)

    assert stretch_content(stretched) is stretched


def test_bars_do_not_bleed_into_the_content():
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[64:192] = 200

    assert (stretch_content(pixels) == 200).all()


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((100, 28, 156, 228), (78, 28, 178, 228)),  # a narrow thing on black
        ((28, 108, 228, 148), (28, 78, 228, 178)),
        ((0, 108, 256, 148), (0, 64, 256, 192)),
    ],
)
def test_narrow_content_keeps_bars(box, expected):
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = 200

    stretched = stretch_content(pixels)

    left, top, right, bottom = expected
    content = Image.fromarray(pixels[top:bottom, left:right])
    resized = content.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(stretched, np.asarray(resized))
