import os

import pandas as pd
import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.cleaning.images import (
    clean_image_rows,
    list_photo_files,
    match_photos_to_rows,
)
from fb_marketplace.pipelines.cleaning.products import clean_products
from fb_marketplace.schemas.cleaning import ImageRows, MatchedPhotos, PhotoListing
from fb_marketplace.schemas.quarantine import Quarantine
from fb_marketplace.storage.photo_source import PhotoSource
from fb_marketplace_serving.storage.erasure_list import add_to_erasure_list
from fb_marketplace_serving.storage.lake import Lake


@pytest.fixture
def clean(raw_products, cleaning):
    """Cleans (image, product) rows beside the listings p0, p1, and p2, which has no price."""
    listed = clean_products(raw_products({}, {}, {"price": "POA"}), cleaning)

    def clean(*rows):
        raw = pd.DataFrame(rows, columns=["id", "product_id"], dtype="str")
        raw["create_time"] = "2021-01-01"
        return clean_image_rows(raw, listed.rows, listed.quarantined, cleaning)

    return clean


@pytest.fixture
def match(clean, cleaning):
    """Matches (image, product) rows to files."""

    def match(rows, keys):
        result = clean(*rows)
        files = pd.DataFrame({"key": keys, "size": 1, "etag": "t"}).astype({"key": "str"})
        return match_photos_to_rows(result.rows, result.quarantined, files, cleaning)

    return match


def turned(frame):
    return sorted(frame[["row", "key", "reason"]].itertuples(index=False, name=None))


def test_rows_of_kept_listings_are_kept(clean):
    result = clean(("i", "p0"), ("j", "p0"), ("k", "p1"))

    assert result.rows["image_id"].tolist() == ["i", "j", "k"]
    assert result.quarantined.empty


def test_row_of_rejected_listing_names_its_reason(clean):
    result = clean(("i", "p2"), ("j", "p0"))

    assert turned(result.quarantined) == [(0, "i", "quarantined_product")]
    assert "unparsable_price" in result.quarantined["detail"].iloc[0]


def test_row_of_unknown_listing_is_rejected(clean):
    assert turned(clean(("i", "stranger")).quarantined) == [(0, "i", "unknown_product")]


def test_row_without_id_is_rejected(clean):
    assert turned(clean(("", "p0"), ("j", "n/a")).quarantined) == [
        (0, "", "missing_field"),
        (1, "j", "missing_field"),
    ]


def test_photo_of_two_listings_stays_with_the_first(clean):
    result = clean(("i", "p0"), ("i", "p1"), ("i", "p0"))

    assert result.rows[["product_id", "repeats"]].to_numpy().tolist() == [["p0", 1]]
    assert turned(result.quarantined) == [(1, "i", "conflicting_row")]


def test_each_repeat_of_rejected_row_is_rejected(clean):
    assert turned(clean(("i", "stranger"), ("i", "stranger")).quarantined) == [
        (0, "i", "unknown_product"),
        (1, "i", "unknown_product"),
    ]


def test_photos_are_matched_to_files(match):
    result = match([("j", "p0"), ("i", "p1")], ["i.jpg", "j.jpg"])

    assert result.photos[["image_id", "source_key"]].to_numpy().tolist() == [
        ["i", "i.jpg"],
        ["j", "j.jpg"],
    ]
    assert result.quarantined.empty


def test_file_name_may_have_another_normal_form(match):
    photos = match([("caf\u00e9", "p0")], ["cafe\u0301.jpg", "caf\u00e9.JPG"]).photos

    assert photos["source_key"].tolist() == ["cafe\u0301.jpg"]


def test_two_files_with_one_name_are_matched_once(match):
    result = match([("caf\u00e9", "p0")], ["cafe\u0301.jpg", "caf\u00e9.jpg"])

    assert len(result.photos) == 1
    assert len(result.quarantined) == 1


@pytest.mark.parametrize(
    ("image_id", "key"),
    [
        ("shop/1", "shop/1.jpg"),
        ("shop/1", "shop%2F1.jpg"),
        ("shop/1", "shop%2f1.jpg"),
        ("shop/1", "shop//1.jpg"),
        ("i", "/i.jpg"),
        ("i", "./i.jpg"),
        ("a b", "a%20b.jpg"),
        ("a%2Fb", "a%2Fb.jpg"),
        ("caf\u00e9/1", "caf%C3%A9%2F1.jpg"),
    ],
)
def test_id_finds_the_forms_of_its_key(match, image_id, key):
    result = match([(image_id, "p0")], [key])

    assert result.photos[["image_id", "source_key"]].to_numpy().tolist() == [[image_id, key]]
    assert result.quarantined.empty


def test_most_literal_file_belongs_to_an_id(match):
    result = match(
        [("a%2Fb", "p0"), ("a/b", "p1"), ("c/d", "p1")],
        ["a%2Fb.jpg", "c%2Fd.jpg", "c//d.jpg", "c/d.jpg"],
    )

    assert dict(result.photos[["image_id", "source_key"]].to_numpy().tolist()) == {
        "a%2Fb": "a%2Fb.jpg",
        "c/d": "c/d.jpg",
    }
    assert turned(result.quarantined) == [
        (-1, "images/c%2Fd.jpg", "no_row"),
        (-1, "images/c//d.jpg", "no_row"),
        (1, "a/b", "missing_file"),
    ]


@pytest.mark.parametrize("key", ["shop/i.jpg", "shop%2Fi.jpg", "/shop/i.jpg"])
def test_file_of_erased_photo_is_masked_whatever_its_key(tmp_path, key):
    erased = add_to_erasure_list(Lake(str(tmp_path)), ["p0"], ["shop/i"])
    photos = PhotoSource(str(tmp_path / "images"))
    path = tmp_path / "images" / key.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()

    listed = list_photo_files(photos, erasure_list=erased)["key"].tolist()

    assert listed == [f"{erased.masked('shop/i')}.jpg"]


def test_padded_ids_belong_together(match):
    assert match([("i ", " p0")], ["i.jpg"]).photos["product_id"].tolist() == ["p0"]


def test_row_without_file_is_rejected_with_its_repeats(match):
    result = match([("i", "p0"), ("j", "p0"), ("i", "p0")], ["j.jpg"])

    assert result.photos["image_id"].tolist() == ["j"]
    assert turned(result.quarantined) == [(0, "i", "missing_file"), (2, "i", "missing_file")]


def test_file_without_row_is_rejected(match):
    result = match([("i", "p0")], ["i.jpg", "stray.jpg", "notes/readme.txt", "i.png"])

    assert turned(result.quarantined) == [
        (-1, "images/i.png", "no_row"),
        (-1, "images/notes/readme.txt", "no_row"),
        (-1, "images/stray.jpg", "no_row"),
    ]


def test_file_of_rejected_row_names_its_reason(match):
    result = match([("i", "stranger")], ["i.jpg"])

    assert turned(result.quarantined) == [(-1, "images/i.jpg", "row_quarantined")]


def test_folder_is_listed_with_sizes(tmp_path):
    (tmp_path / "b.jpg").write_bytes(b"12")
    (tmp_path / "a.jpg").write_bytes(b"")

    listed = list_photo_files(PhotoSource(str(tmp_path)))

    assert listed[["key", "size"]].to_numpy().tolist() == [["a.jpg", 0], ["b.jpg", 2]]


def test_file_with_undecodable_name_is_listed(tmp_path):
    (tmp_path / os.fsdecode(b"\xff.jpg")).touch()

    assert list_photo_files(PhotoSource(str(tmp_path)))["key"].tolist() == ["\\udcff.jpg"]


def test_missing_column_is_rejected(cleaning, raw_products):
    listed = clean_products(raw_products({}), cleaning)

    with pytest.raises(UserError, match=r"raw_images.*\bproduct_id\b"):
        clean_image_rows(
            pd.DataFrame({"id": ["i"], "create_time": [""]}),
            listed.rows,
            listed.quarantined,
            cleaning,
        )


@pytest.mark.parametrize("rows", [[], [("i", "p0")], [("i", "stranger")]])
def test_output_matches_schemas_for_any_input(clean, match, tmp_path, rows):
    result = clean(*rows)
    matched = match(rows, ["i.jpg"])

    ImageRows.validate(result.rows)
    Quarantine.validate(result.quarantined)
    MatchedPhotos.validate(matched.photos)
    Quarantine.validate(matched.quarantined)
    PhotoListing.validate(list_photo_files(PhotoSource(str(tmp_path / "nowhere"))))
