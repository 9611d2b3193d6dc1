"""Hashes of pictures drawn here: smooth random fields with shapes on them."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from fb_marketplace.pipelines.cleaning.perceptual_hash import (
    BLANK,
    FULL_WINDOW,
    HALVES,
    WINDOWS,
    alignment,
    mirrored,
    perceptual_hash,
)
from fb_marketplace_serving.imaging import canonical


def scene(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    random = np.random.default_rng(seed)
    field = random.integers(40, 216, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(field).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(30):
        x, y = int(random.integers(0, size[0])), int(random.integers(0, size[1]))
        wide, high = random.integers(8, 70, 2).tolist()
        colour = tuple(random.integers(30, 256, 3).tolist())
        shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        shape((x, y, x + wide, y + high), fill=colour)
    return picture


def stored(picture: Image.Image, quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return canonical.canonicalize(buffer.getvalue())


def distance(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint8]:
    bits: NDArray[np.uint8] = np.bitwise_count(one ^ other)
    return bits


def test_photo_has_one_hash_per_window() -> None:
    hashes = perceptual_hash(stored(scene(1)))

    assert hashes.shape == (len(WINDOWS),)
    assert hashes.dtype == np.uint64


def test_hashes_are_deterministic() -> None:
    jpeg = stored(scene(1))

    assert (perceptual_hash(jpeg) == perceptual_hash(jpeg)).all()


@pytest.mark.parametrize("seed", range(5))
def test_reencoding_changes_few_bits(seed: int) -> None:
    picture = scene(seed)
    coarse = picture.resize((224, 168))

    moved = distance(perceptual_hash(stored(picture)), perceptual_hash(stored(coarse, quality=35)))

    assert moved[FULL_WINDOW] <= 4


@pytest.mark.parametrize("seed", range(5))
def test_brightness_and_contrast_change_few_bits(seed: int) -> None:
    picture = scene(seed)
    lit = ImageEnhance.Contrast(ImageEnhance.Brightness(picture).enhance(1.2)).enhance(0.8)

    moved = distance(perceptual_hash(stored(picture)), perceptual_hash(stored(lit)))

    assert moved[FULL_WINDOW] <= 8


def test_other_pictures_differ_like_random_bits() -> None:
    hashes = [perceptual_hash(stored(scene(seed)))[FULL_WINDOW] for seed in range(30)]

    separate = [distance(one, other) for i, one in enumerate(hashes) for other in hashes[:i]]

    assert 28 < np.mean(separate) < 36
    assert min(separate) > 13


@pytest.mark.parametrize("size", [(320, 240), (240, 320)])
def test_hashes_of_mirror_image_are_derived(size: tuple[int, int]) -> None:
    picture = scene(3, size)

    foretold = mirrored(perceptual_hash(stored(picture)))

    assert distance(foretold, perceptual_hash(stored(ImageOps.mirror(picture)))).max() <= 6


def test_mirroring_twice_is_identity() -> None:
    hashes = np.append(perceptual_hash(stored(scene(3)))[:7], BLANK)

    assert (mirrored(mirrored(hashes)) == hashes).all()


def test_ten_percent_crop_matches_a_window() -> None:
    picture = scene(4)
    cropped = picture.crop((28, 21, 292, 219))

    moved = distance(
        perceptual_hash(stored(cropped))[FULL_WINDOW], perceptual_hash(stored(picture))
    )

    assert moved.min() <= 10
    assert moved[FULL_WINDOW] > moved.min()


def test_watermark_leaves_one_half_unchanged() -> None:
    picture = scene(5)
    marked = picture.copy()
    ImageDraw.Draw(marked).rectangle((180, 10, 310, 55), fill="white")

    moved = distance(perceptual_hash(stored(marked)), perceptual_hash(stored(picture)))

    assert min(moved[half] for half in HALVES) <= 4


@pytest.mark.parametrize("colour", ["black", "white", "gray"])
def test_blank_photo_and_its_mirror_have_blank_hashes(colour: str) -> None:
    hashes = perceptual_hash(stored(Image.new("RGB", (256, 192), colour)))

    assert (hashes == BLANK).all()
    assert (mirrored(hashes) == BLANK).all()


def test_blank_half_has_a_blank_hash() -> None:
    picture = scene(6, (256, 256))
    picture.paste("white", (0, 0, 128, 256))

    hashes = perceptual_hash(stored(picture))

    assert hashes[4] == BLANK
    assert hashes[5] != BLANK


def test_alignment_maps_mirrored_crop_into_source() -> None:
    picture = scene(9)
    cropped = ImageOps.mirror(picture.crop((16, 12, 304, 228)))

    overlay = alignment(perceptual_hash(stored(cropped)), perceptual_hash(stored(picture)))

    assert overlay == pytest.approx(np.array([[-0.9, 0, 0.95], [0, 0.9, 0.05]]), abs=0.06)
