from pathlib import Path

import pytest

from fb_marketplace_serving.release.manifest import ReleaseError, artifact_of
from fb_marketplace_serving.release.pointer import publish
from fb_marketplace_serving.release.provenance import (
    DuplicatePhoto,
    ListingProvenance,
    PhotoProvenance,
    RejectedPhoto,
    RejectedRow,
    Source,
    UnknownProductError,
    write_provenance,
)
from fb_marketplace_serving.release.provenance_report import explain
from fb_marketplace_serving.storage.lake import Lake

SOURCES = {
    "products": Source("s3://raw/Assets/Products.csv", 1234, "a" * 64),
    "images": Source("s3://raw/Assets/Images.csv", 567, "b" * 64),
    "photos": Source("s3://raw/images/"),
}


def origin(product_id, row, **values):
    plain = ListingProvenance(
        product_id, row, 0, [], None, False, None, product_id, 1, "train", [], []
    )
    return plain._replace(**values)


def photo(image_id, row, **values):
    plain = PhotoProvenance(
        *(image_id, row, [], f"{image_id}.jpg", "e-tag", 4321, "c" * 64, "PNG", 1024, 768),
        *("d" * 64, None, 0, []),
    )
    return plain._replace(**values)


RED = origin(
    "prd-red",
    4,
    repeats=2,
    rejected=[RejectedRow(6, "conflicting_row", "says otherwise")],
    price_flag="joke",
    odd_category_depth=True,
    copy_of="prd-green",
    group="prd-green",
    group_listings=3,
    split="test",
    photos=[
        photo(
            "img-red",
            8,
            repeated_in=[9, 1200],
            oldest_copy="img-green",
            copies=3,
            some_copies=[
                DuplicatePhoto("img-green", "prd-green", True),
                DuplicatePhoto("img-blue", "prd-blue", False),
            ],
        ),
        photo("img-lost", 11),
    ],
    rejected_photos=[
        RejectedPhoto("img-empty", 12, "unusable_file", "empty", "img-empty.jpg", "e0", 0),
        RejectedPhoto("img-gone", 13, "missing_file", "there is none", None, None, None),
    ],
)
GREEN = origin("prd-green", 0, photos=[photo("img-green", 0)])


@pytest.fixture
def draft(make_release):
    """A release that can be searched by words: only such a one says where listings come from."""
    return make_release("v1", searchable=True)


@pytest.fixture
def publish_explained(lake, draft):
    """Publishes a release that says where listings come from, and gives its lake."""

    def publish_explained(version, origins):
        path = f"model/provenance-{version}.parquet"
        Path(lake, path).write_bytes(write_provenance(origins, SOURCES))
        artifacts = draft.artifacts | {"provenance": artifact_of(Lake(lake), path)}
        publish(Lake(lake), draft.model_copy(update={"version": version, "artifacts": artifacts}))
        return lake

    return publish_explained


@pytest.fixture
def explained(publish_explained):
    return publish_explained("v2", [GREEN, origin("prd-lost", 7), RED])


def sections(lines):
    """Values by label, by heading."""
    result = {}
    for line in lines:
        if line and not line.startswith(" "):
            values = result.setdefault(line, {})
        elif line:
            label, _, value = line.strip().partition(": ")
            values[label] = value
    return result


def test_report_covers_listing_row_photos_and_versions(explained):
    assert list(sections(explain(Lake(explained), "prd-red"))) == [
        "listing, as served",
        "raw row",
        "cleaning",
        "photo 1 of 2",
        "photo 2 of 2",
        "rejected image row 1 of 2",
        "rejected image row 2 of 2",
        "versions",
    ]


def test_report_shows_listing_as_served(explained):
    values = sections(explain(Lake(explained), "prd-green"))["listing, as served"]

    assert values == {
        "product id": "prd-green",
        "title": "A green chair",
        "price": "20.5",
        "currency": "GBP",
        "price flag": "none",
        "category": "Home & Garden",
        "category path": "Home & Garden / Chairs",
        "town": "none",
        "county": "none",
        "created at": "none",
    }


def test_report_names_raw_table_and_row(explained):
    values = sections(explain(Lake(explained), "prd-red"))

    assert values["raw row"] == {"row": "4", "table": "s3://raw/Assets/Products.csv"}
    assert values["versions"]["table of products"] == (
        f"sha256 {'a' * 64}, 1,234 bytes, s3://raw/Assets/Products.csv"
    )


def test_report_shows_cleaning_decisions(explained):
    values = sections(explain(Lake(explained), "prd-red"))["cleaning"]

    assert values == {
        "repeats": "2",
        "price flag": "joke",
        "odd category depth": "yes",
        "copy of": "prd-green",
        "group": "prd-green",
        "group listings": "3",
        "split": "test",
        "rejected row 6": "conflicting_row: says otherwise",
    }


def test_report_of_plain_listing_shows_none(explained):
    values = sections(explain(Lake(explained), "prd-green"))["cleaning"]

    assert values["price flag"] == values["copy of"] == "none"
    assert (values["repeats"], values["group listings"]) == ("0", "1")


def test_report_shows_row_object_and_position_of_photo(explained, canonical_photos):
    values = sections(explain(Lake(explained), "prd-red"))["photo 1 of 2"]
    size = len(canonical_photos["img-red"])

    assert values["image id"] == "img-red"
    assert values["row"] == "8"
    assert values["table"] == "s3://raw/Assets/Images.csv"
    assert values["repeated in"] == "9, 1200"
    assert values["object"] == "s3://raw/images/img-red.jpg"
    assert values["source etag"] == "e-tag"
    assert values["source size"] == "4,321"
    assert values["source sha256"] == "c" * 64
    assert (values["format"], values["width"], values["height"]) == ("PNG", "1,024", "768")
    assert values["sha256"] == "d" * 64
    assert values["canonical JPEG"].startswith(f"{size:,} bytes from ")
    assert values["canonical JPEG"].endswith(".jpegs")
    assert values["index row"] == f"{list(canonical_photos).index('img-red')} of 5"


def test_report_counts_copies_and_names_some(explained):
    red = sections(explain(Lake(explained), "prd-red"))["photo 1 of 2"]
    green = sections(explain(Lake(explained), "prd-green"))["photo 1 of 1"]

    assert (red["copies"], red["oldest copy"]) == ("3", "img-green")
    assert red["copy img-green"] == "of listing prd-green, exact"
    assert red["copy img-blue"] == "of listing prd-blue, near"
    assert (green["copies"], green["oldest copy"]) == ("0", "none")


def test_report_of_unserved_photo_says_so(explained):
    values = sections(explain(Lake(explained), "prd-red"))["photo 2 of 2"]

    assert values["canonical JPEG"] == "none"
    assert values["index row"] == "none"


def test_report_shows_rejected_photos_with_reasons(explained):
    values = sections(explain(Lake(explained), "prd-red"))

    assert values["rejected image row 1 of 2"] == {
        "image id": "img-empty",
        "row": "12",
        "reason": "unusable_file",
        "detail": "empty",
        "source etag": "e0",
        "source size": "0",
        "table": "s3://raw/Assets/Images.csv",
        "object": "s3://raw/images/img-empty.jpg",
    }
    assert values["rejected image row 2 of 2"]["object"] == "none"


def test_report_shows_versions_of_release(explained, draft):
    values = sections(explain(Lake(explained), "prd-red"))["versions"]
    encoder = draft.artifacts["encoder"]

    assert values["release"] == "v2"
    assert values["created"] == draft.created
    assert values["code revision"] == draft.code_revision
    assert values["data digest"] == draft.data_digest
    assert values["embedding dimension"] == "8"
    assert values["artifact encoder"] == (
        f"sha256 {encoder.sha256}, {encoder.bytes:,} bytes, {encoder.path}"
    )
    assert {f"artifact {name}" for name in draft.artifacts} < values.keys()


def test_report_of_other_release_than_current(explained, publish_explained):
    publish_explained("v3", [origin("prd-red", 99)])

    in_force, before = (explain(Lake(explained), "prd-red", version) for version in (None, "v2"))

    assert sections(in_force)["raw row"]["row"] == "99"
    assert sections(before)["raw row"]["row"] == "4"


def test_report_keeps_each_value_on_one_line(publish_explained):
    nasty = photo("img-red", 8, source_key="a\nlisting, as served\x1b[2J.jpg")
    lake = publish_explained("v2", [origin("prd-red", 4, photos=[nasty])])

    lines = explain(Lake(lake), "prd-red")

    assert all(line.isprintable() for line in lines)
    assert "  object: s3://raw/images/a\\nlisting, as served\\x1b[2J.jpg" in lines


def test_report_of_unknown_listing_names_alternatives(explained):
    with pytest.raises(UnknownProductError, match=r"'prd-9'.*\bv2\b"):
        explain(Lake(explained), "prd-9")
    with pytest.raises(UnknownProductError, match="prd-blue"):
        explain(Lake(explained), "img-blue")


def test_report_rejects_damaged_files(explained):
    for path in ("provenance-v2.parquet", "photos.parquet", "ids.parquet", "listings.parquet"):
        file = Path(explained, "model", path)
        complete = file.read_bytes()
        file.write_bytes(complete[:-1] + b"?")

        with pytest.raises(ReleaseError, match=rf"{path}.*sha256.*--release"):
            explain(Lake(explained), "prd-red")
        file.write_bytes(complete)


def test_release_without_provenance_is_rejected(lake, draft):
    path = draft.artifacts["listings"].path
    artifacts = draft.artifacts | {"provenance": artifact_of(Lake(lake), path)}
    publish(Lake(lake), draft.model_copy(update={"version": "v2", "artifacts": artifacts}))

    with pytest.raises(ReleaseError, match=r"listings\.parquet.*product_id, ti"):
        explain(Lake(lake), "prd-red")


def test_listing_missing_in_listings_table_is_rejected(explained):
    with pytest.raises(ReleaseError, match=r"listings\.parquet.*prd-lost"):
        explain(Lake(explained), "prd-lost")


def test_report_of_release_in_bucket(explained, seaweed, bucket, become):
    here = explain(Lake(explained), "prd-red")
    seaweed.upload(Path(explained), bucket)
    become(seaweed.reader)

    assert explain(Lake(bucket), "prd-red") == here
