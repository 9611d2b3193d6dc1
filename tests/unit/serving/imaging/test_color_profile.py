"""ICC profiles, against colours computed without a colour library."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms
from support.files.icc_profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    PROPHOTO,
    SRGB,
    cmyk_profile,
    grey_profile,
    in_srgb,
    rgb_profile,
)

from fb_marketplace_serving.imaging import canonical, color_profile
from fb_marketplace_serving.imaging.color_profile import to_srgb

RNG = np.random.default_rng(1)
COLORS = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
WIDE = {
    "Display P3": (DISPLAY_P3, None),
    "Adobe RGB": (ADOBE_RGB, 563 / 256),
    "ProPhoto": (PROPHOTO, 1.8),
    "sRGB primaries, gamma 1.8": (SRGB, 1.8),
}
SRGB_OF_LCMS = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def encoded(image, format_="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def pixels(data):
    return canonical.decode_canonical(canonical.canonicalize(data)).astype(int)


@pytest.mark.parametrize("name", WIDE)
def test_colors_are_converted_to_srgb(name):
    result = np.asarray(to_srgb(Image.fromarray(COLORS), rgb_profile(*WIDE[name])), dtype=float)

    assert np.abs(result - in_srgb(COLORS, *WIDE[name])).max() < 1.5
    assert np.abs(result - COLORS).max() > 15


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
def test_profile_of_each_format_is_applied(format_):
    canonical.accepted_formats()
    color = np.array([[[180, 60, 50]]], dtype=np.uint8)
    photo = Image.fromarray(color).resize((300, 300))

    result = pixels(encoded(photo, format_, quality=95, icc_profile=rgb_profile(DISPLAY_P3)))

    expected = in_srgb(color, DISPLAY_P3)[0, 0]
    assert np.abs(expected - color[0, 0]).max() > 12
    assert np.abs(result[128, 128] - expected).max() < 6


@pytest.mark.parametrize(
    ("mode", "profile", "color", "expected"),
    [
        ("L", grey_profile(1.8), 100, [117] * 3),
        ("LA", grey_profile(1.8), (100, 255), [117] * 3),
        ("RGBA", rgb_profile(SRGB, 1.8), (100, 100, 100, 255), [117] * 3),
        ("RGBA", rgb_profile(SRGB, 1.8), (100, 100, 100, 0), [255] * 3),
        ("CMYK", cmyk_profile(), (255, 0, 0, 0), [90, 0, 255]),
        ("CMYK", cmyk_profile(), (0, 255, 255, 0), [255] * 3),
        ("CMYK", cmyk_profile(), (0, 0, 0, 255), [0] * 3),
    ],
)
def test_profile_of_each_mode_is_applied(mode, profile, color, expected):
    format_ = "JPEG" if mode == "CMYK" else "PNG"
    data = encoded(Image.new(mode, (300, 300), color), format_, icc_profile=profile)

    assert np.abs(pixels(data)[128, 128] - expected).max() <= 3


def test_profile_of_palette_is_applied():
    photo = Image.new("RGB", (300, 300), (100, 100, 100)).quantize(4)

    data = encoded(photo, icc_profile=rgb_profile(SRGB, 1.8))

    assert np.abs(pixels(data)[128, 128] - 117).max() <= 3


UNUSED = {
    "sRGB": rgb_profile(SRGB),
    "sRGB of LittleCMS": SRGB_OF_LCMS,
    "no profile": b"rubbish",
    "cut": rgb_profile(DISPLAY_P3)[:200],
    "header only": rgb_profile(DISPLAY_P3)[:128],
    "for printing": cmyk_profile(),
    "for grey": grey_profile(1.8),
    "too large": rgb_profile(DISPLAY_P3) + bytes(color_profile.MAX_BYTES),
    "unlimited steps": rgb_profile(DISPLAY_P3).replace(b"para", b"mpet"),
    "link": rgb_profile(DISPLAY_P3).replace(b"mntr", b"link"),
    "many tags": rgb_profile(DISPLAY_P3)[:128] + b"\xff" * 400,
}


@pytest.mark.parametrize("name", UNUSED)
@pytest.mark.parametrize("format_", ["JPEG", "WEBP"])
def test_photo_keeps_its_pixels(name, format_):
    photo = Image.fromarray(RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((300, 200))

    assert canonical.canonicalize(
        encoded(photo, format_, icc_profile=UNUSED[name])
    ) == canonical.canonicalize(encoded(photo, format_))


def test_damaged_profiles_never_fail():
    photo = Image.fromarray(COLORS)
    for seed in range(300):
        rng = np.random.default_rng(seed)
        profile = np.frombuffer(rgb_profile(DISPLAY_P3), dtype=np.uint8).copy()
        profile[rng.integers(0, len(profile), 4)] = rng.integers(0, 256, 4)

        assert to_srgb(photo, profile.tobytes()).size == photo.size
