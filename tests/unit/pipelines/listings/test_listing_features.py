import io
import math

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fb_marketplace.parameters.cleaning import SplitParameters
from fb_marketplace.pipelines.listings.listing_features import build_listing_features
from fb_marketplace.schemas.lance import IMAGES
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.search.listings.gazetteer import COLUMNS as PLACE_COLUMNS
from fb_marketplace_serving.search.listings.listing_features import COLUMNS, ListingFeatures

NO_COPIES = pd.DataFrame(columns=["image_id", "group", "kind"], dtype="str")
SPLITS = SplitParameters(
    salt="",
    train=0.8,
    validation=0.1,
    min_words_for_duplicate_description=6,
    max_listings_per_photo=3,
)
ROWS = [
    ("Leeds", "leeds", 53.8, -1.5, 500_000, False, math.nan, False),
    ("Otley", "otley", 53.9, -1.7, 15_000, False, math.nan, False),
]


def product(product_id, town=None, county=None, copy_of=None, description="A table.", date=None):
    return {
        "product_id": product_id,
        "title": "Table",
        "description": description,
        "town": town,
        "county": county,
        "price_flag": None,
        "created_at": date,
        "copy_of": copy_of,
    }


def products(*rows):
    table = pd.DataFrame(list(rows), columns=list(product("p")))
    return table.astype("str").assign(created_at=table["created_at"].astype("Int64"))


def copies(*groups):
    pairs = [(image, group.split()[0], "near") for group in groups for image in group.split()]
    return pd.DataFrame(pairs, columns=["image_id", "group", "kind"], dtype="str")


@pytest.fixture
def store(tmp_path):
    """Store photos with their listing and size."""

    def owner(photos):
        rows = [
            {
                **dict.fromkeys(IMAGES.names, ""),
                "key": image,
                "image_id": image,
                "product_id": product_id,
                "source_size": 1,
                "width": width,
                "height": height,
                "jpeg": b"",
                "perceptual_hash": [],
            }
            for image, (product_id, width, height) in photos.items()
        ]
        url = str(tmp_path / "images.lance")
        keyed_table.ensure_table(url, IMAGES)
        if rows:
            table_writer.insert(url, pa.Table.from_pylist(rows, schema=IMAGES))
        return keyed_table.open_table(url)

    return owner


@pytest.fixture
def places(tmp_path):
    columns = [list(column) for column in zip(*ROWS, strict=True)]
    path = tmp_path / "places.parquet"
    pq.write_table(pa.table(dict(zip(PLACE_COLUMNS, columns, strict=True))), path)
    return FileRef(str(path))


def described(store, places, *rows, photos=None, duplicates=NO_COPIES):
    return build_listing_features(products(*rows), store(photos or {}), duplicates, places, SPLITS)


def families(result):
    table = pq.read_table(io.BytesIO(result.features)).to_pydict()
    return dict(zip(table["product_id"], table["family"], strict=True))


def test_features_are_readable_by_server_and_sorted(store, places):
    result = described(store, places, product("q"), product("p"))

    assert tuple(pq.read_table(io.BytesIO(result.features)).column_names) == COLUMNS
    assert ListingFeatures.from_bytes(result.features).product_ids == ("p", "q")


def test_listing_is_located_at_its_town_or_nowhere(store, places):
    rows = (product("p", "Leeds"), product("q", "Nowhere"), product("r"))
    facts = ListingFeatures.from_bytes(described(store, places, *rows).features)

    assert (facts.latitude[0], facts.longitude[0]) == (53.8, -1.5)
    assert all(math.isnan(item) for item in [*facts.latitude[1:], *facts.longitude[1:]])


def test_description_length_is_in_words(store, places):
    rows = (product("p", description="Oak table, 2m.\nCollect!"), product("q", description=""))

    assert ListingFeatures.from_bytes(
        described(store, places, *rows).features
    ).description_words.tolist() == [
        4,
        0,
    ]


def test_attributes_are_of_title_and_description(store, places):
    rows = (product("p", description="Red oak table, 2m wide."), product("q", description=""))
    result = described(store, places, *rows)
    attributes = ListingFeatures.from_bytes(result.features).attributes

    assert set(attributes.names) == {"colour:red", "material:oak", "length:200 cm"}
    assert attributes.mask("colour:red").tolist() == [True, False]
    assert result.report["attributes"]["colour"] == 0.5
    assert result.report["brands"] == []


def test_largest_photo_counts(store, places):
    photos = {"a": ("p", 640, 480), "b": ("p", 300, 2000), "c": ("q", 10, 10)}
    result = described(store, places, product("p"), product("q"), product("r"), photos=photos)

    assert ListingFeatures.from_bytes(result.features).photo_pixels.tolist() == [600_000, 100, 0]


@pytest.mark.parametrize(
    ("dates", "ages"),
    [((86_400, None, 0), (0, None, 1)), ((None, None, None), (None,) * 3), ((5, 5, 5), (0,) * 3)],
)
def test_age_is_relative_to_newest_listing(store, places, dates, ages):
    rows = [product(name, date=date) for name, date in zip("pqr", dates, strict=True)]

    facts = ListingFeatures.from_bytes(described(store, places, *rows).features)

    assert [None if math.isnan(age) else age for age in facts.age_days] == list(ages)


def test_copies_are_a_family_named_for_smallest_id(store, places):
    rows = (product("z"), product("m", copy_of="z"), product("a", copy_of="z"), product("b"))

    assert families(described(store, places, *rows)) == {"z": "a", "m": "a", "a": "a", "b": "b"}


def test_listings_with_duplicate_photos_are_a_family(store, places):
    photos = {"i": ("p", 1, 1), "j": ("q", 1, 1), "k": ("r", 1, 1), "l": ("r", 1, 1)}
    rows = [product(item) for item in "pqr"]
    result = described(store, places, *rows, photos=photos, duplicates=copies("i j", "k l"))

    assert families(result) == {"p": "p", "q": "p", "r": "r"}


def test_photo_of_very_many_listings_makes_no_family(store, places):
    photos = {name: (name, 1, 1) for name in "abcd"} | {"e1": ("e", 1, 1), "f1": ("f", 1, 1)}
    rows = [product(item) for item in "abcdef"]
    result = described(store, places, *rows, photos=photos, duplicates=copies("a b c d", "e1 f1"))

    assert families(result) == {**{name: name for name in "abcd"}, "e": "e", "f": "e"}
    assert result.report["placeholders"] == {"photos": 1, "listings": 4}


def test_families_join_through_copies_and_photos(store, places):
    photos = {"i": ("p", 1, 1), "j": ("q", 1, 1)}
    rows = (product("p"), product("q"), product("s", copy_of="q"))
    result = described(store, places, *rows, photos=photos, duplicates=copies("i j"))

    assert set(families(result).values()) == {"p"}


def test_shared_description_makes_no_family(store, places):
    rows = [product(item, description="A solid oak table with six chairs") for item in "pq"]

    assert families(described(store, places, *rows)) == {"p": "p", "q": "q"}


def test_report_counts_places_by_source(store, places):
    rows = (
        product("a", "Leeds", "Leeds"),
        product("b", "Headingley", "Leeds"),
        product("c", "Headingley", "Leeds"),
        product("d", "Nowhere", "Rutland"),
        product("e", "Nowhere", "Rutland"),
        product("f", "Elsewhere"),
        product("g"),
        product("h", copy_of="g"),
    )
    report = described(store, places, *rows).report

    assert report["listings"] == {
        "all": 8,
        "with_town": 6,
        "by_town": 1,
        "by_county": 2,
        "unknown": 3,
    }
    assert report["places"] == {"distinct": 4, "by_town": 1, "by_county": 1, "unknown": 2}
    assert report["with_coordinates"] == 3 / 8
    assert report["most_frequent_unknown"] == [
        {"town": "Nowhere", "county": "Rutland", "listings": 2},
        {"town": "Elsewhere", "county": None, "listings": 1},
    ]
    assert report["families"] == {"larger_than_one": 1, "listings_in_them": 2, "largest": 2}


def test_report_has_county_error_for_known_towns(store, places):
    rows = [product("a", "Leeds", "Leeds"), product("b", "Otley", "Leeds"), product("c", "Otley")]
    rows += [product(item, "Headingley", "Leeds") for item in "defg"]
    off = described(store, places, *rows).report["off_by_county_km"]

    # Half of the seventeen kilometres from Leeds to Otley.
    assert off["median"] == pytest.approx(8.6, abs=0.3)
    assert described(store, places, product("c", "Otley")).report["off_by_county_km"] is None
