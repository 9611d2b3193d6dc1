"""The schema of every Parquet table in the catalog, checked at save and at load.

Columns that a schema does not name pass through where the raw tables had them.
"""

from typing import Final

import pandera.pandas as pa

from fb_marketplace.schemas.splits import SPLITS

PRICE_FLAGS: Final = ("zero", "joke", "absurd")


class CleanedProducts(pa.DataFrameModel):
    """Listings that were kept, one row each; flags stand beside values."""

    row: int = pa.Field(ge=0, unique=True)
    product_id: str = pa.Field(unique=True, str_length={"min_value": 1})
    title: str = pa.Field(str_length={"min_value": 1})
    description: str
    price: float = pa.Field(ge=0)
    currency: str = pa.Field(str_length={"min_value": 3, "max_value": 3})
    price_flag: str = pa.Field(nullable=True, isin=PRICE_FLAGS)
    location: str
    town: str = pa.Field(nullable=True)
    county: str = pa.Field(nullable=True)
    category: str
    category_path: str
    category_code: int = pa.Field(ge=0)
    category_depth: int = pa.Field(ge=0)
    odd_category_depth: bool
    repeats: int = pa.Field(ge=0)
    copy_of: str = pa.Field(nullable=True)


class Products(CleanedProducts):
    """The same, with the number of photos that are left of each."""

    photos: int = pa.Field(ge=0)


class ImageRows(pa.DataFrameModel):
    """Rows of the images table that were kept, one an image."""

    row: int = pa.Field(ge=0, unique=True)
    image_id: str = pa.Field(unique=True, str_length={"min_value": 1})
    product_id: str = pa.Field(str_length={"min_value": 1})
    repeats: int = pa.Field(ge=0)
    repeated_in: object  # the numbers of the rows that repeat it


class PhotoFiles(pa.DataFrameModel):
    """The files of the photo folder, as listed."""

    key: str = pa.Field(unique=True)
    size: int = pa.Field(ge=0)
    etag: str


class MatchedPhotos(ImageRows):
    """Those of them that have a file."""

    source_key: str
    source_size: int = pa.Field(ge=0)
    source_etag: str


class ImageProducts(pa.DataFrameModel):
    """Whose photo each is, of the photos that are left."""

    image_id: str = pa.Field(unique=True)
    product_id: str


class DuplicateGroups(pa.DataFrameModel):
    """Photos that are the same as another or nearly; the group is named for its oldest photo."""

    image_id: str = pa.Field(unique=True)
    group: str
    kind: str = pa.Field(isin=("exact", "near"))

    class Config:
        """Nothing else."""

        strict = True


class Splits(pa.DataFrameModel):
    """Where each photo, and each listing without one, belongs."""

    image_id: str = pa.Field(nullable=True)
    product_id: str
    group: str
    split: str = pa.Field(isin=SPLITS)
    rule: str  # digest of the parameters that it was split by

    class Config:
        """Nothing else."""

        unique = ("product_id", "image_id")
        strict = True
