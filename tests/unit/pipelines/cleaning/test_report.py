import io

import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from fb_marketplace.pipelines.cleaning.products import add_photo_columns, clean_products
from fb_marketplace.pipelines.cleaning.quarantine import rejections_table
from fb_marketplace.pipelines.cleaning.report import (
    compute_content_digests,
    plot_category_histogram,
    plot_photo_grid,
    plot_price_histogram,
    plot_quarantine_grid,
    report_cleaning,
)
from fb_marketplace.schemas.lance import REJECTED_PHOTOS
from fb_marketplace.storage import keyed_table, table_writer


@pytest.fixture
def cleaned(raw_products, cleaning, store_photos, draw_photo):
    """All that the report is made of: three photos of two listings, and a file that no row names."""
    raw = raw_products({"price": "£0.00"}, {"id": "p0", "price": "£0.00"}, {}, {"price": "POA"})
    result = clean_products(raw, cleaning)
    stored = store_photos({"i": draw_photo(1), "j": draw_photo(1), "k": draw_photo(3)})
    owners = pd.DataFrame({"image_id": list("ijk"), "product_id": ["p0", "p0", "p2"]})
    dated = owners.assign(created_at=pd.array([None] * 3, "Int64"), date_flag=None)
    strays = rejections_table([("files", -1, "images/x.jpg", "no_row", "")])
    return {
        "raw_products": raw,
        "raw_images": pd.DataFrame(index=range(4)),
        "photo_listing": pd.DataFrame(index=range(4)),
        "products": add_photo_columns(result.rows, owners, dated),
        "matched_photos": pd.DataFrame({"image_id": list("ijk"), "repeats": [1, 0, 0]}),
        "images": stored,
        "duplicate_groups": pd.DataFrame(
            {"image_id": ["i", "j"], "group": "i", "kind": "exact"}, dtype="str"
        ),
        "splits": owners.assign(group=owners["product_id"], split=["test", "test", "train"]),
        "quarantine": pd.concat([result.quarantined, strays], ignore_index=True),
        "content_digests": {"products": "abc"},
    }


def is_png(picture):
    with Image.open(io.BytesIO(picture), formats=("PNG",)) as image:
        image.load()
        return image.width > 100 and image.height > 50


def test_tables_and_files_balance(cleaned):
    accounts = report_cleaning(**cleaned)["ledger"]

    assert {
        name: (item["in"], item["kept"], item["repeats"], item["quarantined"])
        for name, item in accounts.items()
    } == {"products": (4, 3, 1, 1), "images": (4, 4, 1, 0), "files": (4, 3, 0, 1)}


def test_lost_photo_is_an_error(cleaned):
    cleaned["photo_listing"] = pd.DataFrame(index=range(5))

    with pytest.raises(AssertionError, match=r"files.*\b5\b"):
        report_cleaning(**cleaned)


def test_flags_duplicates_and_splits_are_counted(cleaned):
    result = report_cleaning(**cleaned)

    assert result["flags"] == {
        "price_zero": 1,
        "repeated_row": 1,
        "copy": 1,
        "no_photo": 0,
        "no_date": 2,
        "odd_category_depth": 0,
        "respelled_category": 0,
    }
    assert result["duplicates"] == {"photos": 2, "groups": 1, "largest_group": 2, "exact": 2}
    assert result["splits"]["test"] == {"groups": 1, "products": 1, "photos": 2}
    assert result["photos"] == {"JPEG": 3}


DIGESTED = ("products", "images", "duplicate_groups", "splits", "quarantine")


def digests(cleaned):
    return compute_content_digests(**{name: cleaned[name] for name in DIGESTED})


def test_digests_depend_on_cleaned_content_only(cleaned):
    before = digests(cleaned)
    cleaned["products"] = cleaned["products"].assign(price=[0.0, 46.0])
    after = digests(cleaned)

    assert set(before) == set(DIGESTED)
    assert {name for name in before if before[name] != after[name]} == {"products"}


def test_digests_do_not_depend_on_bucket_location(cleaned, store_photos, draw_photo):
    before = digests(cleaned)
    seeds = {"k": 3, "j": 1, "i": 1}
    cleaned["images"] = store_photos({name: draw_photo(seeds[name]) for name in seeds}, "2.lance")
    cleaned["products"] = cleaned["products"].iloc[::-1]

    assert digests(cleaned) == before


def test_digests_depend_on_each_photo(cleaned, store_photos, draw_photo):
    before = digests(cleaned)
    cleaned["images"] = store_photos({name: draw_photo(1) for name in "ijk"}, "2.lance")
    after = digests(cleaned)

    assert {name for name in before if before[name] != after[name]} == {"images"}


def test_report_without_duplicates_has_the_same_keys(cleaned):
    cleaned["duplicate_groups"] = cleaned["duplicate_groups"].iloc[:0]

    assert report_cleaning(**cleaned)["duplicates"] == {
        "photos": 0,
        "groups": 0,
        "largest_group": 0,
    }


def test_photos_are_shown_on_a_sheet(cleaned):
    assert is_png(plot_photo_grid(cleaned["images"]))


@pytest.mark.parametrize("heads", [[], [b"", b"<html>", b"\xff\xd8\xff" + bytes(900)]])
def test_unusable_files_are_shown_on_a_sheet(tmp_path, heads):
    url = str(tmp_path / "unusable.lance")
    texts = ("image_id", "product_id", "source_key", "source_etag", "reason", "detail")
    rows = [
        {"key": str(place), "source_size": 1, "head": head} | dict.fromkeys(texts, "x")
        for place, head in enumerate(heads)
    ]
    keyed_table.ensure_table(url, REJECTED_PHOTOS)
    table_writer.insert(url, pa.Table.from_pylist(rows, schema=REJECTED_PHOTOS))

    assert is_png(plot_quarantine_grid(keyed_table.open_table(url)))


@pytest.mark.parametrize("draw", [plot_category_histogram, plot_price_histogram])
def test_figures_work_without_listings(cleaned, draw):
    assert is_png(draw(cleaned["products"]))
    assert is_png(draw(cleaned["products"].iloc[:0]))
