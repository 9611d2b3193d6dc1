"""Listing features: properties of listings that ranking and filters use."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fb_marketplace_serving.search.listings.attribute_table import AttributeTable
from fb_marketplace_serving.storage.columns import IdColumn, column_of, text_array, to_numpy
from fb_marketplace_serving.storage.parquet import read_parquet
from fb_marketplace_serving.storage.private_file import Content

COLUMNS: Final = (
    "product_id",
    "family",
    "latitude",
    "longitude",
    "description_words",
    "photo_pixels",
    "age_days",
    "attributes",
)
TEXTS: Final = frozenset({"product_id", "family", "attributes"})
"""Columns of texts. All others are numbers."""

NULLABLE: Final = frozenset({"latitude", "longitude", "age_days"})
"""Columns in which a value may be missing."""


class ListingFeaturesError(ValueError):
    """Bytes that are not listing features."""


@dataclass(frozen=True, slots=True)
class ListingFeatures:
    """Columns with one row per listing, sorted by id.

    Attributes:
        product_ids: the listings.
        family: int32, (listings,); listings of the same item share a number.
        latitude: float64, (listings,), degrees north; NaN if unknown.
        longitude: float64, (listings,), degrees east; NaN if unknown.
        description_words: int32, (listings,), length of the description.
        photo_pixels: int64, (listings,), pixels of the largest photo as uploaded; 0 without a photo.
        age_days: float64, (listings,), days by which the newest listing of the release is newer; NaN if
            unknown. It does not depend on the time of the search.
        attributes: attributes of the listings.
    """

    product_ids: IdColumn
    family: NDArray[np.int32]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    description_words: NDArray[np.int32]
    photo_pixels: NDArray[np.int64]
    age_days: NDArray[np.float64]
    attributes: AttributeTable

    @classmethod
    def from_columns(
        cls,
        product_ids: Sequence[str],
        families: Any,
        latitude: ArrayLike,
        longitude: ArrayLike,
        description_words: ArrayLike,
        photo_pixels: ArrayLike,
        age_days: ArrayLike,
        attributes: Any = None,
    ) -> Self:
        """Create features from columns; see the attributes.

        Args:
            product_ids: the listings.
            families: name of the family of each listing, a sequence or an Arrow array.
            latitude: degrees north.
            longitude: degrees east.
            description_words: length of the description.
            photo_pixels: pixels of the largest photo.
            age_days: days by which the newest listing is newer.
            attributes: a text of each listing, see :func:`attributes_text`, a sequence or an Arrow array;
                none by default.

        Raises:
            ListingFeaturesError: the ids are not sorted and unique.
        """
        import pyarrow as pa

        ids = IdColumn.from_ids(product_ids)
        if not ids.is_ascending:
            raise ListingFeaturesError(
                f"found {len(product_ids):,} listings with ids that are not sorted or not unique"
            )
        names = families if isinstance(families, pa.Array) else text_array(families)
        # Numbers in the order of appearance.
        numbers = names.dictionary_encode().indices
        return cls(
            ids,
            np.array(np.from_dlpack(numbers), np.int32),
            np.array(latitude, np.float64),
            np.array(longitude, np.float64),
            np.array(description_words, np.int32),
            np.array(photo_pixels, np.int64),
            np.array(age_days, np.float64),
            AttributeTable.from_texts([""] * len(ids) if attributes is None else attributes),
        )

    @classmethod
    def from_bytes(cls, data: Content, folder: Path | None = None) -> Self:
        """Read the artifact ``listing_features``.

        Args:
            data: Parquet with ``COLUMNS``.
            folder: folder for a private file that holds the ids; None to hold them in memory.

        Raises:
            ListingFeaturesError: the bytes are not Parquet with these columns, or a value is missing.
            OSError: the folder cannot be written, or the disk is full.
        """
        import pyarrow as pa

        table = read_parquet(data, COLUMNS, ListingFeaturesError, folder)
        for field in table.schema:
            is_number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
            if is_number == (field.name in TEXTS):
                raise ListingFeaturesError(
                    f"found {field.name} of type {field.type}; expected "
                    f"{'text' if is_number else 'numbers'}"
                )
            missing = table.column(field.name).null_count
            if missing and field.name not in NULLABLE:
                raise ListingFeaturesError(
                    f"{field.name} is missing in {missing:,} of {table.num_rows:,} rows; expected a value "
                    "in each row"
                )
        numbers = (
            to_numpy(column_of(table, name), pa.float64(), np.nan)
            for name in COLUMNS
            if name not in TEXTS
        )
        product_ids, families, attributes = (
            column_of(table, name) for name in ("product_id", "family", "attributes")
        )
        features = cls.from_columns(IdColumn(product_ids), families, *numbers)
        return replace(features, attributes=AttributeTable.from_texts(attributes))

    @classmethod
    def unknown(cls, product_ids: Sequence[str]) -> Self:
        """Return features of sorted listings without known values; each listing is its own family."""
        missing, zeros = np.full(len(product_ids), np.nan), np.zeros(len(product_ids), np.int64)
        return cls.from_columns(product_ids, product_ids, missing, missing, zeros, zeros, missing)

    def __len__(self) -> int:
        return len(self.product_ids)

    def select(self, product_ids: Sequence[str]) -> "ListingFeatures":
        """Return the features of some listings, whose ids must be sorted."""
        ids = IdColumn.from_ids(product_ids)
        rows = self.product_ids.find_all(ids)
        if (rows < 0).any():
            raise KeyError(ids[int(np.argmax(rows < 0))])
        return ListingFeatures(
            ids,
            self.family[rows],
            self.latitude[rows],
            self.longitude[rows],
            self.description_words[rows],
            self.photo_pixels[rows],
            self.age_days[rows],
            self.attributes.take(rows),
        )
