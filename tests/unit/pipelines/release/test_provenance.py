import pandas as pd
import pyarrow as pa
import pytest

from fb_marketplace.pipelines.release import provenance
from fb_marketplace.pipelines.release.provenance import build_provenance
from fb_marketplace.schemas.lance import IMAGES
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace_serving.release.provenance import (
    DuplicatePhoto,
    PhotoProvenance,
    ProvenanceTable,
    RejectedPhoto,
    RejectedRow,
    Source,
    read_sources,
)

PRODUCTS = pd.DataFrame(
    {
        "row": [0, 2, 5],
        "product_id": ["q", "p", "r"],
        "title": ["Oak table", "Oak table", "Bike"],
        "repeats": [0, 1, 0],
        "price_flag": pd.Series([None, "joke", None], dtype="str"),
        "odd_category_depth": [False, True, False],
        "copy_of": pd.Series([None, "q", None], dtype="str"),
    }
)
IMAGE_ROWS = pd.DataFrame(
    {
        "row": [0, 1, 3, 4, 6, 8],
        "image_id": ["q1", "p2", "p1", "r1", "bad", "gone"],
        "product_id": ["q", "p", "p", "r", "p", "p"],
        "repeated_in": [[], [], [5, 7], [], [], []],
    }
)
SPLITS = pd.DataFrame(
    {
        "image_id": pd.Series(["p1", "p2", "q1", "r1"], dtype="str"),
        "product_id": ["p", "p", "q", "r"],
        "group": ["q", "q", "q", "r"],
        "split": ["test", "test", "test", "train"],
    }
)
QUARANTINE = pd.DataFrame(
    [
        ("files", -1, "images/bad.jpg", "empty", "it has 0 bytes"),
        ("images", 6, "bad", "unusable_file", "empty: it has 0 bytes"),
        ("images", 8, "gone", "missing_file", "there is no images/gone.jpg"),
        ("images", 9, "p1", "conflicting_row", "image_id p1 stands in an earlier row"),
        ("images", 10, "stray", "unknown_product", "no listing has the id z"),
        ("products", 3, "p", "conflicting_row", "product_id p stands in an earlier row"),
        ("products", 4, "z", "missing_field", "no title"),
    ],
    columns=["stage", "row", "key", "reason", "detail"],
)
SOURCES = {
    "products": {"url": "s3://raw/Products.csv", "bytes": 10, "sha256": "a" * 64},
    "images": {"url": "s3://raw/Images.csv", "bytes": 20, "sha256": "b" * 64},
    "photos": {"url": "s3://raw/images"},
}


def source(image_id):
    return {
        "source_key": f"{image_id}.jpg",
        "source_etag": f"tag of {image_id}",
        "source_size": len(image_id),
    }


@pytest.fixture
def store_rows(tmp_path):
    """Store photo rows with the given checksums."""

    def store(digests, owners, name="images.lance"):
        rows = [
            source(image_id)
            | {
                "key": f"key of {image_id}",
                "image_id": image_id,
                "product_id": owners[image_id],
                "source_sha256": f"source {digest}",
                "format": "PNG",
                "width": 640,
                "height": 480,
                "jpeg": b"jpeg",
                "sha256": digest,
                "perceptual_hash": [0],
            }
            for image_id, digest in digests.items()
        ]
        url = str(tmp_path / name)
        keyed_table.ensure_table(url, IMAGES)
        table_writer.insert(url, pa.Table.from_pylist(rows, schema=IMAGES))
        return keyed_table.open_table(url)

    return store


@pytest.fixture
def cleaned(store_rows):
    """Cleaning outputs of a small bucket, by node input."""
    digests = {"p1": "A", "p2": "B", "q1": "A", "r1": "C"}
    groups = pd.DataFrame({"image_id": ["p1", "q1"], "group": ["q1", "q1"], "kind": "exact"})
    matched = IMAGE_ROWS[IMAGE_ROWS["image_id"] != "gone"]
    return {
        "products": PRODUCTS,
        "images": store_rows(digests, {"p1": "p", "p2": "p", "q1": "q", "r1": "r"}),
        "cleaned_image_rows": IMAGE_ROWS,
        "matched_photos": matched.assign(
            **pd.DataFrame(map(source, matched["image_id"]), matched.index)
        ),
        "duplicate_groups": groups,
        "splits": SPLITS,
        "quarantine": QUARANTINE,
        "source_manifest": SOURCES,
    }


def test_listing_has_row_and_cleaning_decisions(cleaned):
    data = build_provenance(**cleaned)
    p, r = ProvenanceTable(data).get("p"), ProvenanceTable(data).get("r")

    assert (p.row, p.repeats, p.price_flag, p.odd_category_depth) == (2, 1, "joke", True)
    assert (p.copy_of, p.group, p.group_listings, p.split) == ("q", "q", 2, "test")
    assert (r.row, r.repeats, r.price_flag, r.odd_category_depth) == (5, 0, None, False)
    assert (r.copy_of, r.group, r.group_listings, r.split) == (None, "r", 1, "train")


def test_rejected_rows_of_listing_are_included(cleaned):
    data = build_provenance(**cleaned)

    assert ProvenanceTable(data).get("p").rejected == [
        RejectedRow(3, "conflicting_row", "product_id p stands in an earlier row")
    ]
    assert ProvenanceTable(data).get("q").rejected == []


def test_photos_are_in_row_order_with_sources(cleaned):
    photos = ProvenanceTable(build_provenance(**cleaned)).get("p").photos

    assert [(photo.image_id, photo.row) for photo in photos] == [("p2", 1), ("p1", 3)]
    assert photos[1] == PhotoProvenance(
        image_id="p1",
        row=3,
        repeated_in=[5, 7],
        source_key="p1.jpg",
        source_etag="tag of p1",
        source_size=2,
        source_sha256="source A",
        format="PNG",
        width=640,
        height=480,
        sha256="A",
        oldest_copy="q1",
        copies=1,
        some_copies=[DuplicatePhoto("q1", "q", True)],
    )


def test_photo_without_duplicates_has_no_copies(cleaned):
    (photo,) = ProvenanceTable(build_provenance(**cleaned)).get("r").photos

    assert (photo.oldest_copy, photo.copies, photo.some_copies) == (None, 0, [])


def test_copy_with_other_bytes_is_near_duplicate(cleaned, store_rows):
    owners = {"p1": "p", "p2": "p", "q1": "q", "r1": "r"}
    others = store_rows(dict(zip(owners, "ABCD", strict=True)), owners, "others.lance")

    (photo,) = ProvenanceTable(build_provenance(**cleaned | {"images": others})).get("q").photos

    assert photo.some_copies == [DuplicatePhoto("p1", "p", False)]


def test_many_copies_are_counted_and_some_named(cleaned, monkeypatch):
    monkeypatch.setattr(provenance, "MAX_DUPLICATES", 2)
    ids = ["p1", "p2", "q1", "r1"]
    groups = pd.DataFrame({"image_id": ids, "group": "q1", "kind": "near"})

    (photo,) = (
        ProvenanceTable(build_provenance(**cleaned | {"duplicate_groups": groups})).get("q").photos
    )

    assert photo.copies == 3
    assert [copy.image_id for copy in photo.some_copies] == ["p1", "p2"]


def test_rejected_photos_have_reasons(cleaned):
    data = build_provenance(**cleaned)

    assert ProvenanceTable(data).get("p").rejected_photos == [
        RejectedPhoto(
            *("bad", 6, "unusable_file", "empty: it has 0 bytes", "bad.jpg", "tag of bad", 3)
        ),
        RejectedPhoto("gone", 8, "missing_file", "there is no images/gone.jpg", *[None] * 3),
        RejectedPhoto(
            *("p1", 9, "conflicting_row", "image_id p1 stands in an earlier row"), *[None] * 3
        ),
    ]
    assert ProvenanceTable(data).get("r").rejected_photos == []


def test_listing_without_photos_is_included(cleaned):
    without = cleaned["products"].assign(product_id=["q", "p", "bare"])
    bare = pd.DataFrame(
        {"image_id": [None], "product_id": ["bare"], "group": "bare", "split": "train"}
    )

    data = build_provenance(
        **cleaned | {"products": without, "splits": pd.concat([SPLITS, bare], ignore_index=True)}
    )

    assert ProvenanceTable(data).get("bare").photos == []


def test_bucket_location_is_included(cleaned):
    sources = read_sources(build_provenance(**cleaned))

    assert sources["products"] == Source("s3://raw/Products.csv", 10, "a" * 64)
    assert sources["photos"] == Source("s3://raw/images")


def test_provenance_does_not_depend_on_row_order(cleaned, tmp_path):
    stored = {}
    for name, table in cleaned.items():
        if isinstance(table, pd.DataFrame):
            table.iloc[::-1].to_parquet(tmp_path / name, index=False)
            stored[name] = pd.read_parquet(tmp_path / name)

    assert build_provenance(**cleaned | stored) == build_provenance(**cleaned)
