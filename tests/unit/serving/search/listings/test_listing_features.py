import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fb_marketplace_serving.search.listings.attribute_table import AttributeCount
from fb_marketplace_serving.search.listings.listing_features import (
    COLUMNS,
    ListingFeatures,
    ListingFeaturesError,
)

ROWS = {
    "product_id": ["p", "q", "r"],
    "family": ["a", "b", "a"],
    "latitude": [51.5, None, 53.0],
    "longitude": [-0.1, None, -2.0],
    "description_words": [12, 0, 40],
    "photo_pixels": [3_000_000_000, 0, 1],
    "age_days": [0.0, None, 3.5],
    "attributes": ["brand:ikea\ncolour:red", "", "colour:red"],
}


def parquet(rows):
    buffer = io.BytesIO()
    pq.write_table(pa.table(rows), buffer)
    return buffer.getvalue()


def test_from_bytes_reads_each_column():
    result = ListingFeatures.from_bytes(parquet(ROWS))

    assert len(result) == 3
    assert result.product_ids == ("p", "q", "r")
    assert result.description_words.tolist() == [12, 0, 40]
    assert result.photo_pixels.tolist() == [3_000_000_000, 0, 1]
    np.testing.assert_array_equal(result.latitude, [51.5, np.nan, 53.0])
    np.testing.assert_array_equal(result.longitude, [-0.1, np.nan, -2.0])
    np.testing.assert_array_equal(result.age_days, [0.0, np.nan, 3.5])


def test_family_members_share_one_number():
    first, second, third = ListingFeatures.from_bytes(parquet(ROWS)).family

    assert first == third != second


@pytest.mark.parametrize("ids", [["q", "p", "r"], ["p", "p", "r"]])
def test_unsorted_or_repeated_listings_are_rejected(ids):
    with pytest.raises(ListingFeaturesError, match="sorted"):
        ListingFeatures.from_bytes(parquet(ROWS | {"product_id": ids}))


def test_non_parquet_bytes_are_rejected():
    with pytest.raises(ListingFeaturesError, match=r"\b4 bytes\b.*Parquet"):
        ListingFeatures.from_bytes(b"none")


def test_other_columns_are_rejected():
    with pytest.raises(ListingFeaturesError, match="columns"):
        ListingFeatures.from_bytes(parquet({name: ROWS[name] for name in COLUMNS[1:]}))


@pytest.mark.parametrize("name", ["product_id", "family", "photo_pixels", "attributes"])
def test_only_place_and_age_may_be_missing(name):
    with pytest.raises(ListingFeaturesError, match=rf"{name}.*\b1\b.*\b3\b"):
        ListingFeatures.from_bytes(parquet(ROWS | {name: [None, *ROWS[name][1:]]}))


def test_text_in_numeric_column_is_rejected():
    with pytest.raises(ListingFeaturesError, match=r"description_words.*string"):
        ListingFeatures.from_bytes(parquet(ROWS | {"description_words": ["a", "b", "c"]}))


def test_subset_keeps_features_of_its_listings():
    result = ListingFeatures.from_bytes(parquet(ROWS)).select(["p", "r"])

    assert result.product_ids == ("p", "r")
    assert result.family[0] == result.family[1]
    assert result.latitude.tolist() == [51.5, 53.0]
    assert result.longitude.tolist() == [-0.1, -2.0]
    assert result.description_words.tolist() == [12, 40]
    assert result.photo_pixels.tolist() == [3_000_000_000, 1]
    assert result.age_days.tolist() == [0.0, 3.5]
    assert result.attributes.count_values(np.arange(2)) == [AttributeCount("colour", "red", 2)]
    assert result.attributes.mask("brand:ikea").tolist() == [True, False]


def test_listings_without_features_are_unknown():
    result = ListingFeatures.unknown(["p", "q"])

    assert result.product_ids == ("p", "q")
    assert result.family[0] != result.family[1]
    assert np.isnan([*result.latitude, *result.longitude, *result.age_days]).all()
    assert not any([*result.description_words, *result.photo_pixels])
