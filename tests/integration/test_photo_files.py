"""Photo files as phones, editors and broken uploads leave them, through the cleaning pipeline."""

import io

import numpy as np
import pytest
from PIL import Image
from support.builders.photo_bucket import photo_bucket
from support.files.icc_profiles import ADOBE_RGB, DISPLAY_P3, cmyk_profile, in_srgb, rgb_profile
from support.kedro_project import PROJECT, Place

from fb_marketplace_serving.imaging import canonical

COLOR = np.array([[[180, 60, 50]]], dtype=np.uint8)
MOST_NOISE = 6
"""Levels by which lossy formats may change a flat colour."""


def photo(format_, **options):
    buffer = io.BytesIO()
    Image.fromarray(COLOR).resize((300, 300)).save(buffer, format_, **options)
    return buffer.getvalue()


@pytest.mark.slow
def test_cleaning_reads_profiles_formats_and_files_without_end(tmp_path):
    canonical.accepted_formats()
    p3, adobe = in_srgb(COLOR, DISPLAY_P3), in_srgb(COLOR, ADOBE_RGB, 563 / 256)
    printed = Image.new("CMYK", (300, 300), (255, 0, 0, 0))
    ink = io.BytesIO()
    printed.save(ink, "JPEG", icc_profile=cmyk_profile())
    plain = photo("JPEG", progressive=True)
    files = {
        "plain": (plain, COLOR),
        "p3": (photo("JPEG", icc_profile=rgb_profile(DISPLAY_P3)), p3),
        "p3 png": (photo("PNG", icc_profile=rgb_profile(DISPLAY_P3)), p3),
        "adobe": (photo("WEBP", quality=95, icc_profile=rgb_profile(ADOBE_RGB, 563 / 256)), adobe),
        "ink": (ink.getvalue(), np.array([90, 0, 255])),
        "broken profile": (photo("JPEG", icc_profile=b"rubbish"), COLOR),
        "avif": (photo("AVIF", quality=95), COLOR),
        "avif p3": (photo("AVIF", quality=95, icc_profile=rgb_profile(DISPLAY_P3)), p3),
        "heic": (photo("HEIF", quality=95), COLOR),
        "heic p3": (photo("HEIF", quality=95, icc_profile=rgb_profile(DISPLAY_P3)), p3),
        "no end": (plain[:-2], COLOR),
        "half an end": (plain[:-1], COLOR),
    }
    rejected = {"cut": plain[: len(plain) // 2], "cut a little": plain[:-9]}
    data = {name: content for name, (content, _) in files.items()} | rejected
    for key, content in photo_bucket(
        {name: (f"{name}.jpg", content) for name, content in data.items()}
    ).items():
        path = tmp_path / "raw" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    place = Place(PROJECT, str(tmp_path / "raw"), str(tmp_path / "lake"))
    version = place.run("--pipeline=cleaning", "--params=cleaning.max_rejected_share=0.5")

    rows = place.photo_table().to_table(columns=["image_id", "jpeg"]).to_pylist()
    centres = {
        row["image_id"]: canonical.decode_canonical(row["jpeg"])[128, 128].astype(int)
        for row in rows
    }
    wrong = {
        name: (centres.get(name), expected)
        for name, (_, expected) in files.items()
        if name not in centres or np.abs(centres[name] - expected).max() > MOST_NOISE
    }
    assert wrong == {}
    quarantine = place.table("quarantine", version)
    reasons = quarantine[quarantine["stage"] == "files"].set_index("key")["reason"].to_dict()
    assert reasons == {f"images/{name}.jpg": "truncated" for name in rejected}
