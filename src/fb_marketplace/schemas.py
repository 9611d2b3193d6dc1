"""The schema of every Parquet table in the catalog, checked at save and at load.

Columns that a schema does not name pass through where the raw tables had them.
"""

from typing import Final

import pandera.pandas as pa

from fb_marketplace.forgotten import REASON as FORGOTTEN
from fb_marketplace.photo_folder import NOT_AS_LISTED
from fb_marketplace.split_names import MEASURED, SPLITS
from fb_marketplace_serving.photos import REASONS as PHOTO_REASONS

STAGES: Final = ("products", "images", "files")
PRICE_FLAGS: Final = ("zero", "joke", "absurd")
REASONS: Final = (
    "torn_line",
    "missing_field",
    "unparsable_price",
    "conflicting_row",
    "unknown_product",
    "quarantined_product",
    "missing_file",
    "unusable_file",
    "no_row",
    "row_quarantined",
    FORGOTTEN,
    *PHOTO_REASONS,
    NOT_AS_LISTED,
)


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


class Quarantine(pa.DataFrameModel):
    """Rows and files that were turned away, each once."""

    stage: str = pa.Field(isin=STAGES)
    row: int = pa.Field(ge=-1)
    key: str
    reason: str = pa.Field(isin=REASONS)
    detail: str

    class Config:
        """A row or a file is turned away once."""

        unique = ("stage", "row", "key")
        strict = True


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


class PriceAnswers(pa.DataFrameModel):
    """What each model said of the price of each listing; the interval is the chosen model's."""

    product_id: str
    group: str
    split: str = pa.Field(isin=SPLITS)
    price: float = pa.Field(gt=0)
    model: str
    answered: float = pa.Field(gt=0)
    low: float = pa.Field(gt=0, nullable=True)
    high: float = pa.Field(gt=0, nullable=True)

    class Config:
        """A model answers once."""

        unique = ("model", "product_id")
        strict = True


class CategoryAnswers(pa.DataFrameModel):
    """What each model said of the root category of each listing."""

    product_id: str
    group: str
    split: str = pa.Field(isin=SPLITS)
    category: str
    model: str
    answered: str

    class Config:
        """A model answers once."""

        unique = ("model", "product_id")
        strict = True


class CategoryTextProbabilities(pa.DataFrameModel):
    """What the text of each listing says of its root category, in the order of the sorted labels."""

    product_id: str = pa.Field(unique=True)
    split: str = pa.Field(isin=SPLITS)
    probabilities: object  # float32, (labels,), each above zero, together one

    class Config:
        """Nothing else."""

        strict = True


class VisionPredictions(pa.DataFrameModel):
    """What an encoder says of the root category of each photo that is measured on, as served."""

    image_id: str = pa.Field(unique=True)
    product_id: str
    group: str
    split: str = pa.Field(isin=MEASURED)
    category: str
    probabilities: object  # float32, (labels,), in the order of the sorted labels, together one

    class Config:
        """Nothing else."""

        strict = True


class LayerEmbeddings(pa.DataFrameModel):
    """Vectors of the photos that are measured on, by other layers of the network than the one served."""

    image_id: str
    layer: str
    embedding: object  # float32, (dimension of the layer,), of unit length

    class Config:
        """A photo has one vector by each layer."""

        unique = ("image_id", "layer")
        strict = True


class ProductPredictions(pa.DataFrameModel):
    """What photos, text and both say of the root category of each listing that is measured on."""

    product_id: str = pa.Field(unique=True)
    group: str
    split: str = pa.Field(isin=MEASURED)
    category: str
    photos: int = pa.Field(ge=0)
    # Each float32, (labels,), in the order of the sorted labels, together one.
    by_photos: object = pa.Field(nullable=True)  # mean over its photos; missing where it has none
    by_text: object
    probabilities: object  # of photos and text together

    class Config:
        """Nothing else."""

        strict = True


class RetrievalHits(pa.DataFrameModel):
    """The first hits of each photo of the test split, in the index as served."""

    image_id: str
    rank: int = pa.Field(ge=1, le=10)
    hit: str
    similarity: float  # cosine
    grade: int = pa.Field(ge=0, le=3)

    class Config:
        """A photo is found once, and there is one at each rank."""

        unique = ("image_id", "rank")
        strict = True


class RetrievalQueries(pa.DataFrameModel):
    """How well each query did by each measure, beside what a random order would give."""

    gallery: str
    photos: int = pa.Field(ge=1)  # in the gallery
    embedding: str
    measure: str
    image_id: str
    group: str
    category: str
    value: float = pa.Field(ge=0, le=1 + 1e-9)
    chance: float = pa.Field(ge=0, le=1 + 1e-9)

    class Config:
        """A query is measured once."""

        unique = ("gallery", "embedding", "measure", "image_id")
        strict = True


class RankingSearches(pa.DataFrameModel):
    """How well each search for a listing of the test split did, by each way to put candidates in order."""

    kind: str
    product_id: str
    group: str
    method: str
    measure: str
    value: float = pa.Field(ge=0, le=1 + 1e-9)

    class Config:
        """A search is measured once."""

        unique = ("kind", "product_id", "method", "measure")
        strict = True


class Feedback(pa.DataFrameModel):
    """What searches by words showed, and whether it was clicked; there may be none."""

    search_id: str
    words: str = pa.Field(str_length={"min_value": 1})
    product_id: str
    position: int = pa.Field(ge=1)  # over all pages of the search
    clicked: bool

    class Config:
        """A page shows a listing once."""

        unique = ("search_id", "product_id")
        strict = True
