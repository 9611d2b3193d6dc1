"""Schemas of the tables that cleaning writes, checked on save and on load.

Unless its schema is strict, a table may also have other columns of the raw tables.
"""

import pandas as pd
import pandera.pandas as pa

from fb_marketplace.schemas.dates import DateFlag
from fb_marketplace.schemas.reasons import PriceFlag
from fb_marketplace.schemas.splits import SPLITS


class CleanedProducts(pa.DataFrameModel):
    """Accepted listings, one row each, with flags."""

    row: int = pa.Field(ge=0, unique=True)
    product_id: str = pa.Field(unique=True, str_length={"min_value": 1})
    title: str = pa.Field(str_length={"min_value": 1})
    description: str
    price: float = pa.Field(ge=0, nullable=True)
    currency: str = pa.Field(str_length={"min_value": 3, "max_value": 3})
    price_flag: str = pa.Field(nullable=True, isin=[flag.value for flag in PriceFlag])
    location: str
    town: str = pa.Field(nullable=True)
    county: str = pa.Field(nullable=True)
    category: str
    category_path: str
    category_code: int = pa.Field(ge=0)
    category_depth: int = pa.Field(ge=0)
    odd_category_depth: bool
    respelled_category: bool
    repeats: int = pa.Field(ge=0)
    copy_of: str = pa.Field(nullable=True)
    created_at: pd.Int64Dtype = pa.Field(nullable=True)  # seconds since 1970, UTC
    date_flag: str = pa.Field(nullable=True, isin=[flag.value for flag in DateFlag])


class Products(CleanedProducts):
    """Accepted listings, with the number of their photos, and dates of photos for those without a date."""

    photos: int = pa.Field(ge=0)


class ProductLabels(pa.DataFrameModel):
    """Category of each accepted listing."""

    product_id: str = pa.Field(unique=True)
    category: str
    category_path: str

    class Config:
        """No other column may come with it, since a change in it would train again."""

        strict = True


class ImageRows(pa.DataFrameModel):
    """Accepted rows of the images table, one per image."""

    row: int = pa.Field(ge=0, unique=True)
    image_id: str = pa.Field(unique=True, str_length={"min_value": 1})
    product_id: str = pa.Field(str_length={"min_value": 1})
    repeats: int = pa.Field(ge=0)
    repeated_in: object  # numbers of the rows that repeat this one
    created_at: pd.Int64Dtype = pa.Field(nullable=True)  # seconds since 1970, UTC
    date_flag: str = pa.Field(nullable=True, isin=[flag.value for flag in DateFlag])


class PhotoListing(pa.DataFrameModel):
    """Directory listing of the photo folder, one row per file."""

    key: str = pa.Field(unique=True)
    size: int = pa.Field(ge=0)
    etag: str


class MatchedPhotos(ImageRows):
    """Accepted image rows that have a file."""

    source_key: str
    source_size: int = pa.Field(ge=0)
    source_etag: str


class ImageProducts(pa.DataFrameModel):
    """The listing that each stored photo belongs to, and the digest of the photo."""

    image_id: str = pa.Field(unique=True)
    product_id: str
    sha256: str


class DuplicateGroups(pa.DataFrameModel):
    """Duplicate photos. A group is named by the id of its oldest photo."""

    image_id: str = pa.Field(unique=True)
    group: str
    kind: str = pa.Field(isin=("exact", "near"))

    class Config:
        """No further columns."""

        strict = True


class PhotoComparisons(pa.DataFrameModel):
    """The different photos, sorted by digest, and the pairs of them that a run compared."""

    sha256: str = pa.Field(unique=True)
    others: object  # int64, rows of this table, below this row
    scores: object  # float64, one per other photo
    rule: str  # digest of parameters and code

    class Config:
        """No further columns."""

        strict = True


class Splits(pa.DataFrameModel):
    """Split of each photo, and of each listing without photos."""

    image_id: str = pa.Field(nullable=True)
    product_id: str
    group: str
    split: str = pa.Field(isin=SPLITS)
    rule: str  # digest of the split parameters

    class Config:
        """One row per listing and photo; no further columns."""

        unique = ("product_id", "image_id")
        strict = True


class SplitHistory(pa.DataFrameModel):
    """Listings that were ever in train or validation, and digests of their photos and descriptions."""

    product_id: str
    shared: str = pa.Field(nullable=True)  # null in one row per listing
    split: str = pa.Field(isin=("train", "validation"))
    rule: str  # digest of the split parameters

    class Config:
        """No further columns."""

        unique = ("product_id", "shared")
        strict = True


class TrainingListings(pa.DataFrameModel):
    """Labelled listings at the time when the network was trained."""

    product_id: str = pa.Field(unique=True)
    category: str
    split: str = pa.Field(isin=SPLITS)
    rule: str  # digest of the split parameters

    class Config:
        """No further columns."""

        strict = True
