"""What a search knows of a listing beside what is shown of it, as the release carries it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

COLUMNS: Final = (
    "product_id",
    "family",
    "latitude",
    "longitude",
    "description_words",
    "photo_pixels",
)
UNKNOWN: Final = frozenset({"latitude", "longitude"})
"""The columns in which a value may be missing."""


class ListingFeaturesError(ValueError):
    """Bytes that are no facts of listings; says what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class ListingFeatures:
    """Columns, a row a listing, sorted by its id.

    Attributes:
        product_ids: the listings.
        family: int32, (listings,): listings that show the same thing have the same number.
        latitude: float64, (listings,), degrees north of where it is offered; NaN where that is not known.
        longitude: float64, (listings,), degrees east.
        description_words: int32, (listings,), how long its description is.
        photo_pixels: int64, (listings,), of its largest photo as it was uploaded; 0 where it has none.
    """

    product_ids: tuple[str, ...]
    family: NDArray[np.int32]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    description_words: NDArray[np.int32]
    photo_pixels: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        product_ids: Sequence[str],
        families: Sequence[str],
        latitude: ArrayLike,
        longitude: ArrayLike,
        description_words: ArrayLike,
        photo_pixels: ArrayLike,
    ) -> Self:
        """Take the columns; see the attributes.

        Raises:
            FactsError: the listings are not sorted by id, each once.
        """
        if any(left >= right for left, right in pairwise(product_ids)):
            raise ListingFeaturesError(
                f"found {len(product_ids):,} listings that are not sorted by id, each once"
            )
        numbers = {name: place for place, name in enumerate(dict.fromkeys(families))}
        return cls(
            tuple(product_ids),
            np.array([numbers[name] for name in families], np.int32),
            np.array(latitude, np.float64),
            np.array(longitude, np.float64),
            np.array(description_words, np.int32),
            np.array(photo_pixels, np.int64),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the facts of a release.

        Args:
            data: Parquet of ``COLUMNS``.

        Raises:
            FactsError: it is something else.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table: Any = pq.ParquetFile(io.BytesIO(data)).read()
        except (pa.ArrowInvalid, OSError) as error:
            raise ListingFeaturesError(
                f"found {len(data):,} bytes that are no Parquet ({error})"
            ) from error
        if tuple(table.column_names) != COLUMNS:
            raise ListingFeaturesError(
                f"found the columns {table.column_names}; expected {COLUMNS}"
            )
        for field in table.schema:
            numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
            if numeric != (field.name in COLUMNS[2:]):
                raise ListingFeaturesError(
                    f"found {field.name} of type {field.type}; expected "
                    f"{'text' if numeric else 'numbers'}"
                )
            missing = table.column(field.name).null_count
            if missing and field.name not in UNKNOWN:
                raise ListingFeaturesError(
                    f"found {missing:,} of {table.num_rows:,} rows without {field.name}; expected a value "
                    "in each row"
                )
        product_ids, families = (table.column(name).to_pylist() for name in COLUMNS[:2])
        numbers = (_numbers(table.column(name).combine_chunks()) for name in COLUMNS[2:])
        return cls.of(product_ids, families, *numbers)

    @classmethod
    def unknown(cls, product_ids: Sequence[str]) -> Self:
        """Say of listings, which are sorted, that nothing is known of them, and that none is like
        another."""
        nowhere, nothing = np.full(len(product_ids), np.nan), np.zeros(len(product_ids), np.int64)
        return cls.of(product_ids, product_ids, nowhere, nowhere, nothing, nothing)

    def __len__(self) -> int:
        return len(self.product_ids)

    def among(self, product_ids: Sequence[str]) -> "ListingFeatures":
        """Give those of some listings, which are sorted."""
        place = {product: at for at, product in enumerate(self.product_ids)}
        rows = [place[product] for product in product_ids]
        return ListingFeatures(
            tuple(product_ids),
            self.family[rows],
            self.latitude[rows],
            self.longitude[rows],
            self.description_words[rows],
            self.photo_pixels[rows],
        )


def _numbers(column: Any) -> NDArray[Any]:
    """Give a column of numbers, NaN where one is missing."""
    # Not to_numpy or fill_null, which import pandas where they can: seconds of a server's start.
    if column.null_count:
        return np.array(column.to_pylist(), np.float64)
    return np.from_dlpack(column)
