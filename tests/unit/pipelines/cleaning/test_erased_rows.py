"""Erased listings are rejected, counted and never named."""

import pandas as pd
import pytest

from fb_marketplace.pipelines.cleaning.images import (
    clean_image_rows,
    list_photo_files,
    match_photos_to_rows,
)
from fb_marketplace.pipelines.cleaning.products import clean_products
from fb_marketplace.pipelines.cleaning.quarantine import check_accounting, merge_quarantine
from fb_marketplace.schemas.cleaning import MatchedPhotos
from fb_marketplace.schemas.quarantine import Quarantine
from fb_marketplace.schemas.reasons import Reason
from fb_marketplace.storage.photo_source import PhotoSource
from fb_marketplace_serving.storage.erasure_list import ErasureList, is_masked


@pytest.fixture
def erasure_list():
    """The listing p1 and its photo j; the photo k of it has come since."""
    one = ErasureList("salt")
    return ErasureList("salt", frozenset([one.digest("p1")]), frozenset([one.digest("j")]))


@pytest.fixture
def cleaned(raw_products, cleaning, erasure_list, tmp_path):
    """Cleans three listings of one photo each and more, of which p1 is to be erased."""
    for name in "ijk":
        (tmp_path / f"{name}.jpg").write_bytes(b"photo of " + name.encode())
    raw = pd.DataFrame(
        [("i", "p0"), ("j", "p1"), ("k", "p1"), ("j", "p1")],
        columns=["id", "product_id"],
        dtype="str",
    )
    listed = clean_products(raw_products({}, {"price": "POA"}, {}), cleaning, erasure_list)
    rows = clean_image_rows(raw, listed.rows, listed.quarantined, cleaning, erasure_list)
    files = list_photo_files(PhotoSource(str(tmp_path)), rows.quarantined, erasure_list)
    matched = match_photos_to_rows(rows.rows, rows.quarantined, files, cleaning)
    return listed, rows, files, matched


def test_erased_listing_is_rejected_before_other_reasons(cleaned):
    listed = cleaned[0]

    assert listed.rows["product_id"].tolist() == ["p0", "p2"]
    assert listed.quarantined[["row", "reason"]].to_numpy().tolist() == [[1, Reason.ERASED]]


def test_photos_of_erased_listing_are_rejected(cleaned):
    _, rows, _, matched = cleaned

    assert rows.rows["image_id"].tolist() == ["i"]
    assert rows.quarantined["reason"].tolist() == [Reason.ERASED] * 3
    assert matched.photos["source_key"].tolist() == ["i.jpg"]
    MatchedPhotos.validate(matched.photos)


def test_files_of_erased_listing_are_rejected(cleaned):
    matched = cleaned[3]

    assert (
        matched.quarantined[["stage", "reason"]].to_numpy().tolist()
        == [["files", Reason.ERASED]] * 2
    )


def test_ledger_balances_with_erased_rows(cleaned):
    listed, rows, files, matched = cleaned
    ledger = merge_quarantine(listed.quarantined, rows.quarantined, matched.quarantined)

    Quarantine.validate(ledger)
    assert check_accounting("products", 3, len(listed.rows), 0, ledger)["reasons"] == {
        Reason.ERASED: 1
    }
    assert check_accounting("images", 4, len(rows.rows), 0, ledger)["quarantined"] == 3
    assert check_accounting("files", len(files), len(matched.photos), 0, ledger)["quarantined"] == 2


def test_no_table_names_erased_listing(cleaned):
    listed, rows, files, matched = cleaned
    tables = (*listed, *rows, files, *matched)
    cells = {str(cell) for table in tables for row in table.to_numpy().tolist() for cell in row}

    assert not {"p1", "j", "k", "j.jpg", "k.jpg", "images/j.jpg"} & cells
    assert not files.loc[files["key"].map(is_masked), "etag"].any()


def test_unlisted_file_of_erased_photo_is_not_named(cleaning, erasure_list, tmp_path):
    (tmp_path / "j.jpg").write_bytes(b"photo")
    empty = pd.DataFrame({"key": []}, dtype="str")

    assert (
        list_photo_files(PhotoSource(str(tmp_path)), empty, erasure_list)["key"]
        .map(is_masked)
        .all()
    )
