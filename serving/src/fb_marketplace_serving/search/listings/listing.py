"""Listing cards: the fields of a listing that a search result displays."""

import math
from typing import Final, NamedTuple

from fb_marketplace_serving.storage.parquet import read_parquet

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


def read_listings(data: bytes) -> dict[str, Listing]:
    """Read the listings of a release, by product id.

    Args:
        data: Parquet whose columns are the fields of :class:`Listing`.

    Raises:
        ValueError: the bytes are not Parquet, the columns differ, or a product occurs twice.
    """
    table = read_parquet(data, Listing._fields)
    columns = (column.to_pylist() for column in table.columns)
    listings = {row[0]: _without_nan(Listing(*row)) for row in zip(*columns, strict=True)}
    if len(listings) != table.num_rows:
        raise ValueError(
            f"found {table.num_rows:,} rows for {len(listings):,} products; expected one row per product"
        )
    return listings


def _without_nan(listing: Listing) -> Listing:
    """Replace a NaN price, which pandas may write for a missing one: JSON has no NaN."""
    if listing.price is not None and math.isnan(listing.price):
        return listing._replace(price=None)
    return listing
