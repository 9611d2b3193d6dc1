"""Listing cards: the fields of a listing that a search result displays."""

import math
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.storage.columns import IdColumn, column_of, take_values
from fb_marketplace_serving.storage.parquet import read_parquet
from fb_marketplace_serving.storage.private_file import Content

IMPLAUSIBLE: Final = ("joke", "absurd")
"""Flags of prices that are not real offers."""


class Listing(NamedTuple):
    """A listing. The fields are the columns of the artifact ``listings``, in order.

    Attributes:
        product_id: its id in the raw data.
        title: the cleaned title.
        price: price as listed, in units of the currency; None if there is none.
        currency: currency of the price, ISO 4217.
        category: root category.
        category_path: full category path, as in the raw data.
        town: the seller's town, if known.
        county: the seller's county, if known.
        price_flag: ``zero``, ``joke`` or ``absurd`` if the price is implausible, ``missing`` if there is
            none; else None.
        created_at: seconds since 1970, UTC, when it was listed; None if unknown.
    """

    product_id: str
    title: str
    price: float | None
    currency: str
    category: str
    category_path: str
    town: str | None
    county: str | None
    price_flag: str | None = None
    created_at: int | None = None

    @property
    def has_meant_price(self) -> bool:
        """Whether the price is a real offer: neither a joke nor absurd. Zero is real: a free listing."""
        return self.price is not None and self.price_flag not in IMPLAUSIBLE


class ListingTable(Mapping[str, Listing]):
    """The listings of a release by id, in columns. Thread-safe. A listing is created when it is read.

    Attributes:
        ids: the ids, in the order of the artifact.
        table: a ``pyarrow.Table`` with the fields of :class:`Listing`.
    """

    def __init__(self, table: Any) -> None:
        """Wrap a table.

        Raises:
            ValueError: a product is missing or occurs twice.
        """
        import pyarrow.compute as pc

        self.table = table
        self.ids = IdColumn(column_of(self.table, "product_id"))
        distinct = len(pc.unique(self.ids.array)) if not self.ids.is_ascending else len(self.ids)
        if distinct != len(self.ids) or self.ids.array.null_count:
            raise ValueError(
                f"found {len(self.ids):,} rows for {distinct:,} products; expected one row per product"
            )

    @classmethod
    def from_listings(cls, listings: Collection[Listing] | Mapping[str, Listing]) -> "ListingTable":
        """Return listings as a table. The keys of a mapping are their ids."""
        import pyarrow as pa

        if isinstance(listings, ListingTable):
            return listings
        if isinstance(listings, Mapping):
            listings = [card._replace(product_id=name) for name, card in listings.items()]
        columns = zip(*listings, strict=True) if listings else ((),) * len(Listing._fields)
        return cls(pa.table(list(map(list, columns)), schema=_schema()))

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __contains__(self, product_id: object) -> bool:
        return product_id in self.ids

    def __getitem__(self, product_id: str) -> Listing:
        row = self.ids.find(product_id)
        if row is None:
            raise KeyError(product_id)
        return _without_nan(Listing(*(column[row].as_py() for column in self.table.columns)))

    def take(self, positions: NDArray[np.integer]) -> list[Listing]:
        """Return the listings at some positions in the order of the ids.

        Args:
            positions: integers, (listings,).
        """
        rows = positions if self.ids.is_ascending else self.ids.order[positions]
        return [_without_nan(Listing(**record)) for record in take_values(self.table, rows)]

    def column(self, name: str) -> Any:
        """Return a column as an Arrow array, sorted by id."""
        values = column_of(self.table, name)
        return values if self.ids.is_ascending else values.take(self.ids.order)

    def counts(self, column: str) -> dict[str, int]:
        """Return the number of listings with each value of a column of texts, in order of appearance."""
        import pyarrow.compute as pc

        counted = pc.value_counts(column_of(self.table, column).drop_null())
        values, counts = counted.flatten()
        return dict(zip(values.to_pylist(), counts.to_pylist(), strict=True))


def read_listings(data: Content, folder: Path | None = None) -> ListingTable:
    """Read the listings of a release.

    Args:
        data: Parquet whose columns are the fields of :class:`Listing`.
        folder: folder for a private file that holds the columns; None to hold them in memory.

    Raises:
        ValueError: the bytes are not Parquet, the columns differ, or a product occurs twice.
        OSError: the folder cannot be written, or the disk is full.
    """
    return ListingTable(read_parquet(data, Listing._fields, folder=folder, schema=_schema()))


@cache
def _schema() -> Any:
    import pyarrow as pa

    kinds = {"price": pa.float64(), "created_at": pa.int64()}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in Listing._fields])


def _without_nan(listing: Listing) -> Listing:
    """Replace a NaN price, which pandas may write for a missing one: JSON has no NaN."""
    if listing.price is not None and math.isnan(listing.price):
        return listing._replace(price=None)
    return listing
