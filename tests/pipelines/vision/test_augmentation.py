import numpy as np
import pytest

from fb_marketplace.parameters import AugmentationParameters
from fb_marketplace.pipelines.vision.augmentation import (
    Box,
    augmented,
    content_box,
    mixup_share,
)
from fb_marketplace_serving.photos import SIDE

UNCHANGED = AugmentationParameters(smallest_crop=1, stretched=1, mirrored=0, light=0)


@pytest.fixture
def letterboxed():
    """A photo of four bright quarters, as wide as the square and half as high, between black bars."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[64:128, :128] = (200, 60, 60)
    pixels[64:128, 128:] = (60, 200, 60)
    pixels[128:192, :128] = (60, 60, 200)
    pixels[128:192, 128:] = (200, 200, 200)
    return pixels


def test_the_content_lies_between_the_bars(letterboxed):
    assert content_box(letterboxed) == Box(left=0, top=64, right=SIDE, bottom=192)


def test_bars_at_the_sides_are_found_too(letterboxed):
    assert content_box(letterboxed.transpose(1, 0, 2)) == Box(64, 0, 192, SIDE)


def test_noise_in_a_bar_does_not_make_it_content(letterboxed):
    noise = np.random.default_rng(0).integers(0, 20, letterboxed.shape, dtype=np.uint8)

    assert content_box(letterboxed + noise) == content_box(letterboxed)


@pytest.mark.parametrize("bright", [0, 10])
def test_a_dark_photo_keeps_all_of_itself(bright):
    pixels = np.full((SIDE, SIDE, 3), 5, np.uint8)
    pixels[:bright, :bright] = 255

    assert content_box(pixels) == Box(0, 0, SIDE, SIDE)


def test_a_photo_stays_a_canonical_one(letterboxed, told):
    for seed in range(20):
        changed = augmented(letterboxed, np.random.default_rng(seed), told.fine_tuning.augmentation)
        found = content_box(changed)

        assert (changed.dtype, changed.shape) == (np.uint8, (SIDE, SIDE, 3))
        assert max(found.right - found.left, found.bottom - found.top) >= SIDE - 2
        assert abs(found.left - (SIDE - found.right)) <= 2, "it is in the middle"
        assert abs(found.top - (SIDE - found.bottom)) <= 2, "it is in the middle"


def test_the_same_state_gives_the_same_photo_and_another_does_not(letterboxed, told):
    one, again, other = (
        augmented(letterboxed, np.random.default_rng(seed), told.fine_tuning.augmentation)
        for seed in (3, 3, 4)
    )

    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_the_photo_that_was_given_is_left_as_it_was(letterboxed, told):
    before = letterboxed.copy()

    augmented(letterboxed, np.random.default_rng(0), told.fine_tuning.augmentation)

    assert np.array_equal(letterboxed, before)


def test_told_to_change_nothing_it_changes_nothing(letterboxed):
    assert np.array_equal(augmented(letterboxed, np.random.default_rng(0), UNCHANGED), letterboxed)


def test_mirroring_swaps_left_and_right_alone(letterboxed):
    told = UNCHANGED.model_copy(update={"mirrored": 1.0})

    mirrored = augmented(letterboxed, np.random.default_rng(0), told)

    assert np.array_equal(mirrored, letterboxed[:, ::-1])


def test_a_crop_shows_no_less_than_it_was_told(letterboxed):
    told = UNCHANGED.model_copy(update={"smallest_crop": 0.5})
    ramp = np.zeros_like(letterboxed)
    # Brightness says where in the photo a column was: what is left of the range is what is seen.
    ramp[64:192] = np.linspace(50, 250, SIDE).astype(np.uint8)[None, :, None]

    seen = []
    for seed in range(20):
        content = augmented(ramp, np.random.default_rng(seed), told)[SIDE // 2, :, 0]
        seen.append((float(content.max()) - float(content.min())) / 200)

    assert min(seen) >= np.sqrt(0.5) - 0.05
    assert min(seen) < 0.9


def test_light_changes_by_no_more_than_it_was_told(letterboxed):
    told = UNCHANGED.model_copy(update={"light": 0.2})
    grey = np.full_like(letterboxed, 100)

    brightness = [augmented(grey, np.random.default_rng(seed), told).mean() for seed in range(20)]

    # Of an even grey, contrast and colour change nothing.
    assert 80 - 1 <= min(brightness) < 95
    assert 105 < max(brightness) <= 120 + 1


def test_without_mixup_a_photo_is_itself_alone():
    assert mixup_share(np.random.default_rng(0), 0) == 1


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_a_photo_is_at_least_half_of_its_mixture(alpha):
    generator = np.random.default_rng(0)
    shares = [mixup_share(generator, alpha) for _ in range(200)]

    assert 0.5 <= min(shares) < 0.7
    assert 0.9 < max(shares) <= 1
