import hashlib
import io
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps, UnidentifiedImageError

from fb_marketplace.sample.faults.listings import EMOJI

from .conftest import DrawnLake

LIMIT = 40_000_000
FILE_REASONS = {
    *("empty", "truncated", "not_an_image", "unsupported_format", "too_many_pixels"),
    *("no_row", "row_quarantined"),
}
IMAGE_REASONS = {
    *("missing_field", "unknown_product", "quarantined_product", "missing_file", "unusable_file"),
}


def key(image: str) -> str:
    return f"images/{image}.jpg"


def opened(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    if picture.size[0] * picture.size[1] <= LIMIT:
        picture.load()
    return picture


def table(lake: DrawnLake, name: str) -> pd.DataFrame:
    content = io.BytesIO(lake.files[f"Assets/{name}.csv"])
    return pd.read_csv(content, lineterminator="\n", dtype=str, keep_default_na=False)


def bad_files(lake: DrawnLake) -> dict[str, str]:
    return {entry["key"]: entry["reason"] for entry in lake.truth["quarantine"]["files"]}


def test_smallest_bucket_has_every_kind_of_fault(lake: DrawnLake) -> None:
    quarantine = lake.truth["quarantine"]

    assert {entry["reason"] for entry in quarantine["files"]} == FILE_REASONS
    assert {entry["reason"] for entry in quarantine["images"]} == IMAGE_REASONS
    assert {entry["reason"] for entry in quarantine["products"]} == {
        *("missing_field", "unparsable_price"),
    }
    assert {pair["how"] for pair in lake.truth["duplicates"]["near"]} == {
        *("crop", "reencode", "brightness", "watermark", "mirror"),
    }
    assert all(lake.truth["flags"].values())
    assert all(lake.truth["kinds"].values())
    assert lake.truth["duplicates"]["exact"]


def test_listed_bad_file_has_its_fault(lake: DrawnLake) -> None:
    for name, reason in bad_files(lake).items():
        content = lake.files[name]
        if reason == "empty":
            assert content == b""
        elif reason == "truncated":
            with pytest.raises(OSError, match=r"truncated|broken"):
                opened(content)
        elif reason == "not_an_image":
            with pytest.raises(UnidentifiedImageError):
                opened(content)
        elif reason == "unsupported_format":
            assert opened(content).format in {"GIF", "BMP"}


def test_file_with_too_many_pixels_is_small_and_valid(
    lake: DrawnLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    bombs = [name for name, reason in bad_files(lake).items() if reason == "too_many_pixels"]

    for name in bombs:
        picture = Image.open(io.BytesIO(lake.files[name]))

        assert picture.size == (30_000, 30_000)
        assert len(lake.files[name]) < 1_000_000


def test_other_files_are_valid_jpeg_or_png(lake: DrawnLake) -> None:
    unusable = {
        name
        for name, reason in bad_files(lake).items()
        if reason not in {"no_row", "row_quarantined"}
    }

    formats = {
        opened(content).format
        for name, content in lake.files.items()
        if name.startswith("images/") and name not in unusable
    }

    assert formats == {"JPEG", "PNG"}


def test_rejected_image_rows_match_the_tables(lake: DrawnLake) -> None:
    images, products = table(lake, "Images"), table(lake, "Products")
    unkept = {entry["id"] for entry in lake.truth["quarantine"]["products"]}
    bad = {
        name
        for name, reason in bad_files(lake).items()
        if reason not in {"no_row", "row_quarantined"}
    }
    result = []
    for row, (image, product) in enumerate(zip(images.id, images.product_id, strict=True)):
        if not image or not product:
            result.append((row, "missing_field"))
        elif product not in set(products.id):
            result.append((row, "unknown_product"))
        elif product in unkept:
            result.append((row, "quarantined_product"))
        elif key(image) not in lake.files:
            result.append((row, "missing_file"))
        elif key(image) in bad:
            result.append((row, "unusable_file"))

    listed = lake.truth["quarantine"]["images"]

    assert result == [(entry["row"], entry["reason"]) for entry in listed]
    assert all(images.id[entry["row"]] == entry["id"] for entry in listed)


def test_files_without_kept_row_are_listed(lake: DrawnLake) -> None:
    images = table(lake, "Images")
    away = {
        entry["id"]
        for entry in lake.truth["quarantine"]["images"]
        if entry["reason"] not in {"unusable_file", "missing_file"}
    }
    reasons = bad_files(lake)
    for name in lake.files:
        if name.startswith("images/"):
            image = name.removeprefix("images/").removesuffix(".jpg")
            if image not in set(images.id):
                assert reasons.pop(name) == "no_row"
            elif image in away:
                assert reasons.pop(name) == "row_quarantined"

    assert not {"no_row", "row_quarantined"} & set(reasons.values())


def test_products_without_kept_photo_are_listed(lake: DrawnLake) -> None:
    images, products = table(lake, "Images"), table(lake, "Products")
    rows = [entry["row"] for entry in lake.truth["quarantine"]["images"]]
    lost = [entry["row"] for entry in lake.truth["quarantine"]["products"]]
    visible = set(images.drop(index=rows).product_id)

    bare = {product for product in products.drop(index=lost).id if product not in visible}

    assert bare == set(lake.truth["flags"]["no_photo"])


def test_exact_copies_match_the_list(lake: DrawnLake) -> None:
    by_digest = defaultdict(set)
    for name, content in lake.files.items():
        if name.startswith("images/") and content:
            image = name.removeprefix("images/").removesuffix(".jpg")
            by_digest[hashlib.sha256(content).hexdigest()].add(image)
    groups = {frozenset(group) for group in by_digest.values() if len(group) > 1}

    assert groups == {frozenset(group) for group in lake.truth["duplicates"]["exact"]}


def likeness(first: bytes, second: bytes) -> float:
    sides = []
    for content in (first, second):
        with Image.open(io.BytesIO(content)) as picture:
            grey = ImageOps.exif_transpose(picture).convert("L")
        box = grey.point(lambda level: 255 if level > 16 else 0).getbbox()
        pixels = np.asarray(grey.crop(box).resize((48, 48)), float)
        sides.append((pixels - pixels.mean()) / (pixels.std() + 1e-9))
    straight = float((sides[0] * sides[1]).mean())
    mirrored = float((sides[0] * sides[1][:, ::-1]).mean())
    return max(straight, mirrored)


def test_near_duplicates_look_alike_and_differ_in_bytes(lake: DrawnLake) -> None:
    for pair in lake.truth["duplicates"]["near"]:
        first, second = (lake.files[key(image)] for image in pair["ids"])

        assert first != second
        assert likeness(first, second) > 0.7, pair["how"]


def test_photos_of_a_product_are_different_views(lake: DrawnLake) -> None:
    images = table(lake, "Images").drop_duplicates("id")
    planted = {image for group in lake.truth["duplicates"]["exact"] for image in group}
    planted |= {image for pair in lake.truth["duplicates"]["near"] for image in pair["ids"]}
    bad = bad_files(lake)
    compared = 0
    for _, rows in images.groupby("product_id"):
        keys = [key(image) for image in rows.id if image not in planted]
        keys = [name for name in keys if name in lake.files and name not in bad]
        if len(keys) == 2:
            compared += 1
            assert likeness(*(lake.files[name] for name in keys)) < 0.9

    assert compared > 10


def test_unusual_encodings_match_the_list(lake: DrawnLake) -> None:
    def pictures(kind: str) -> list[Image.Image]:
        return [opened(lake.files[key(image)]) for image in lake.truth["kinds"][kind]]

    assert {picture.format for picture in pictures("png_behind_jpg")} == {"PNG"}
    assert {picture.mode for picture in pictures("alpha")} == {"RGBA"}
    assert {picture.mode for picture in pictures("greyscale")} == {"L"}
    assert {picture.mode for picture in pictures("cmyk")} == {"CMYK"}
    assert {picture.mode for picture in pictures("palette")} == {"P"}
    assert {picture.getexif()[0x0112] for picture in pictures("exif_turned")} == {3, 6, 8}
    assert any(picture.getexif().get_ifd(0x8825) for picture in pictures("exif_turned"))
    assert {picture.size for picture in pictures("twelve_megapixel")} == {(4000, 3000)}


def test_one_third_of_photos_is_letterboxed(lake: DrawnLake) -> None:
    bad = bad_files(lake)
    sizes = [
        opened(content).size
        for name, content in lake.files.items()
        if name.startswith("images/") and name not in bad
    ]

    assert 0.15 < sizes.count((256, 256)) / len(sizes) < 0.5


def test_placeholders_are_shared_by_several_listings(lake: DrawnLake) -> None:
    placeholders = {image: lake.files[key(image)] for image in lake.truth["kinds"]["placeholder"]}
    images = table(lake, "Images").set_index("id")

    assert len(set(placeholders.values())) == 2
    assert images.loc[list(placeholders), "product_id"].nunique() == len(placeholders) >= 6


def test_models_are_sold_in_several_colours(lake: DrawnLake) -> None:
    listed = [product for model in lake.truth["models"] for product in model]
    rejected = {entry["id"] for entry in lake.truth["quarantine"]["products"]}

    assert sorted(listed) == sorted(set(table(lake, "Products").id) - rejected)
    assert sum(len(set(model.values())) > 1 for model in lake.truth["models"]) >= 10


def test_emoji_match_ground_truth(lake: DrawnLake) -> None:
    products = table(lake, "Products")
    text = products.product_name + products.product_description
    holding = text.map(lambda value: any(emoji in value for emoji in EMOJI))

    assert set(products[holding].id) == set(lake.truth["kinds"]["emoji"])
