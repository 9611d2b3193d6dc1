import numpy as np
import pytest
from PIL import Image

from fb_marketplace.parameters.vision import AugmentationParameters
from fb_marketplace.pipelines.vision.data.augmentation import (
    augment,
    sample_mixup_share,
)
from fb_marketplace_serving.imaging.canonical import SIDE
from fb_marketplace_serving.imaging.letterbox import photo_box

UNCHANGED = AugmentationParameters(
    crop_size=64, min_scale=1, max_aspect_ratio=1, hflip_prob=0, color_jitter=0
)


@pytest.fixture
def letterboxed():
    """A bright photo, as wide as the square and half as high, between black bars."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[64:192] = np.linspace(60, 200, SIDE, dtype=np.uint8)[:, np.newaxis]
    return pixels


def test_training_image_is_square_without_bars(letterboxed, base_recipe):
    recipe = base_recipe.fine_tuning.augmentation.model_copy(update={"crop_size": 48})
    for seed in range(20):
        changed = augment(letterboxed, np.random.default_rng(seed), recipe)

        assert (changed.dtype, changed.shape) == (np.uint8, (48, 48, 3))
        assert photo_box(changed) == (0, 0, 48, 48)


def test_augmentation_is_deterministic_for_a_state(letterboxed, base_recipe):
    one, again, other = (
        augment(letterboxed, np.random.default_rng(seed), base_recipe.fine_tuning.augmentation)
        for seed in (3, 3, 4)
    )

    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_input_photo_is_unchanged(letterboxed, base_recipe):
    before = letterboxed.copy()

    augment(letterboxed, np.random.default_rng(0), base_recipe.fine_tuning.augmentation)

    assert np.array_equal(letterboxed, before)


def test_disabled_augmentation_only_resizes():
    pixels = np.random.default_rng(0).integers(40, 256, (SIDE, SIDE, 3), dtype=np.uint8)

    changed = augment(pixels, np.random.default_rng(0), UNCHANGED)

    expected = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR)
    assert np.array_equal(changed, np.asarray(expected))


def test_mirroring_only_swaps_left_and_right():
    pixels = np.random.default_rng(0).integers(40, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    base_recipe = UNCHANGED.model_copy(update={"hflip_prob": 1.0})

    plain, mirrored = (
        augment(pixels, np.random.default_rng(0), recipe) for recipe in (UNCHANGED, base_recipe)
    )

    assert np.array_equal(mirrored, plain[:, ::-1])


def test_crop_has_minimum_area():
    base_recipe = UNCHANGED.model_copy(update={"min_scale": 0.5})
    # Brightness says where in the photo a column was: what is left of the range is what is seen.
    ramp = np.empty((SIDE, SIDE, 3), np.uint8)
    ramp[:] = np.linspace(50, 250, SIDE).astype(np.uint8)[None, :, None]

    seen = []
    for seed in range(20):
        content = augment(ramp, np.random.default_rng(seed), base_recipe)[32, :, 0]
        seen.append((float(content.max()) - float(content.min())) / 200)

    assert min(seen) >= np.sqrt(0.5) - 0.05
    assert min(seen) < 0.9


@pytest.mark.parametrize("max_aspect_ratio", [1.0, 1.5])
def test_crop_has_maximum_aspect_change(max_aspect_ratio):
    base_recipe = UNCHANGED.model_copy(
        update={"min_scale": 0.3, "max_aspect_ratio": max_aspect_ratio}
    )
    ramp = np.empty((SIDE, SIDE, 3), np.uint8)
    ramp[..., 0] = np.linspace(50, 250, SIDE).astype(np.uint8)[None, :]
    ramp[..., 1] = np.linspace(50, 250, SIDE).astype(np.uint8)[:, None]
    ramp[..., 2] = 50

    ratios = []
    for seed in range(30):
        changed = augment(ramp, np.random.default_rng(seed), base_recipe).astype(int)
        wide, high = np.ptp(changed[32, :, 0]), np.ptp(changed[:, 32, 1])
        ratios.append(max(wide / high, high / wide))

    assert max(ratios) <= max_aspect_ratio * 1.05
    assert max(ratios) >= 1 + 0.6 * (max_aspect_ratio - 1)


def test_brightness_change_is_bounded():
    base_recipe = UNCHANGED.model_copy(update={"color_jitter": 0.2})
    grey = np.full((SIDE, SIDE, 3), 100, np.uint8)

    brightness = [
        augment(grey, np.random.default_rng(seed), base_recipe).mean() for seed in range(20)
    ]

    # Of an even grey, contrast and colour change nothing.
    assert 80 - 1 <= min(brightness) < 95
    assert 105 < max(brightness) <= 120 + 1


def test_no_mixup_keeps_the_photo():
    assert sample_mixup_share(np.random.default_rng(0), 0) == 1


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_keeps_at_least_half_of_the_photo(alpha):
    generator = np.random.default_rng(0)
    shares = [sample_mixup_share(generator, alpha) for _ in range(200)]

    assert 0.5 <= min(shares) < 0.7
    assert 0.9 < max(shares) <= 1
