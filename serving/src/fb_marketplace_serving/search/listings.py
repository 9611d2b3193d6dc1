"""What is shown of a listing beside its photos, as the release carries it."""

import io
import math
from typing import NamedTuple


class Listing(NamedTuple):
    """A listing. Its fields are the columns of the artifact, in order.

    Attributes:
        product_id: its id in the bucket.
        title: its title, cleaned.
        price: as listed, in units of the currency; None where there is none.
        currency: of the price, ISO 4217.
        category: its root category.
        category_path: the whole path, as in the bucket.
        town: where it is offered, if known.
        county: where it is offered, if known.
    """

    product_id: str
    title: str
    price: float | None
    currency: str
    category: str
    category_path: str
    town: str | None
    county: str | None


def read_listings(data: bytes) -> dict[str, Listing]:
    """Read the listings of a release, by product id.

    Args:
        data: Parquet whose columns are the fields of :class:`Listing`.

    Raises:
        ValueError: it is no Parquet, has other columns, or names a product twice.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(io.BytesIO(data)).read()
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"found {len(data):,} bytes that are no Parquet ({error})") from error
    if tuple(table.column_names) != Listing._fields:
        raise ValueError(
            f"found the columns {', '.join(table.column_names)}; "
            f"expected {', '.join(Listing._fields)}"
        )
    columns = (table.column(name).to_pylist() for name in Listing._fields)
    listings = {row[0]: _with_price_or_none(Listing(*row)) for row in zip(*columns, strict=True)}
    if len(listings) != table.num_rows:
        raise ValueError(
            f"found {table.num_rows:,} rows of {len(listings):,} products; expected one each"
        )
    return listings


def _with_price_or_none(listing: Listing) -> Listing:
    """Read not-a-number, as pandas may write a missing price, as none: JSON has no such number."""
    if listing.price is not None and math.isnan(listing.price):
        return listing._replace(price=None)
    return listing
