"""Price insights: the price range of comparable listings, and notes with their evidence.

The pipeline computes all of them. A note states evidence, never a judgement.
"""

from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.storage.columns import IdColumn, column_of, take_values
from fb_marketplace_serving.storage.parquet import read_parquet, write_parquet
from fb_marketplace_serving.storage.private_file import Content

UNUSUAL_PRICE: Final = "unusual_price"
PHOTO_ELSEWHERE: Final = "photo_elsewhere"


class UnusualPrice(NamedTuple):
    """Evidence that a price is far outside the range of comparable listings.

    Attributes:
        low: lower end of the typical range, in the currency's units.
        high: upper end.
        listings: number of comparable listings behind the range.
        comparables: ids of the most similar of them, most similar first.
    """

    low: float
    high: float
    listings: int
    comparables: tuple[str, ...]


class PhotoElsewhere(NamedTuple):
    """Evidence that another listing, with another price or town, has the same photo.

    Attributes:
        product_id: the other listing.
        image_id: the photo in this listing.
        other_image_id: the photo in the other listing.
        price: price of the other listing.
        town: town of the other listing, if known.
        copy: ``exact`` if both photos are the same file or picture, else ``near``.
    """

    product_id: str
    image_id: str
    other_image_id: str
    price: float
    town: str | None
    copy: str


class Insight(NamedTuple):
    """A note for the buyer.

    Attributes:
        kind: ``unusual_price`` or ``photo_elsewhere``.
        text: one sentence.
        evidence: the evidence.
    """

    kind: str
    text: str
    evidence: UnusualPrice | PhotoElsewhere


class PriceInsights(NamedTuple):
    """Insights about one listing's price.

    Attributes:
        price_range: typical prices of comparable listings, low and high, in the currency's units. None if
            too few are comparable, or if the listing's own price is not a real price.
        comparables: ids of the most similar listings with a price, most similar first.
        insights: notes; usually none.
    """

    price_range: tuple[float, float] | None
    comparables: tuple[str, ...]
    insights: tuple[Insight, ...]


class PriceInsightsError(ValueError):
    """Bytes that are not price insights."""


class PriceInsightTable:
    """The price insights of all listings. Thread-safe.

    Attributes:
        product_ids: the listings, sorted.
    """

    def __init__(self, table: Any) -> None:
        """Wrap a ``pyarrow.Table``; see :meth:`from_bytes`."""
        import pyarrow.compute as pc

        self._ids, self._low, self._high, self._comparables, self._insights = (
            column_of(table, name) for name in table.column_names
        )
        self.product_ids = IdColumn(self._ids)
        if not self.product_ids.is_ascending:
            raise PriceInsightsError(
                f"found {len(self._ids):,} listings with ids that are not sorted or not unique"
            )
        rows = self._comparables.flatten()
        if len(rows) and not 0 <= pc.min(rows).as_py() <= pc.max(rows).as_py() < len(self):
            raise PriceInsightsError(
                f"found comparable listings with row numbers up to {pc.max(rows).as_py():,}; expected rows "
                f"of the {len(self):,} listings"
            )

    @classmethod
    def from_bytes(cls, data: Content, folder: Path | None = None) -> Self:
        """Open a table that :func:`write_price_insights` wrote.

        Args:
            data: the table.
            folder: folder for a private file that holds it; None to hold it in memory.

        Raises:
            PriceInsightsError: the bytes are not such a table.
            OSError: the folder cannot be written, or the disk is full.
        """
        import pyarrow.compute as pc

        expected = _schema()
        table = read_parquet(data, expected.names, PriceInsightsError, folder)
        if not table.schema.equals(expected):
            raise PriceInsightsError(
                f"found the columns {_describe(table.schema)}; expected {_describe(expected)}. "
                "Rerun `kedro run --pipeline=pricing`."
            )
        items = [pc.list_flatten(table[name]) for name in ("comparables", "insights")]
        missing = sum(values.null_count for values in (*table.columns, *items))
        if missing:
            raise PriceInsightsError(
                f"found {missing:,} missing values; expected none, and NaN for an unknown price range. "
                "Rerun `kedro run --pipeline=pricing`."
            )
        return cls(table)

    def __len__(self) -> int:
        return len(self._ids)

    def get(self, product_id: str) -> PriceInsights:
        """Return the insights about a listing's price.

        Raises:
            KeyError: there is no such listing.
        """
        row = self.product_ids.find(product_id)
        if row is None:
            raise KeyError(product_id)
        return self.take(np.array([row]))[0]

    def take(self, rows: NDArray[np.int64]) -> list[PriceInsights]:
        """Return the insights about the prices of some listings.

        Args:
            rows: int64, (listings,), their rows in ``product_ids``.
        """
        lows, highs, comparables, records = (
            take_values(column, rows)
            for column in (self._low, self._high, self._comparables, self._insights)
        )
        names = iter(take_values(self._ids, np.array([*chain(*comparables)], np.int64)))
        ids = [tuple(islice(names, len(others))) for others in comparables]
        return [
            PriceInsights(
                None if np.isnan(low) else (low, high),
                others,
                tuple(_from_record(record, low, high, others) for record in notes),
            )
            for low, high, others, notes in zip(lows, highs, ids, records, strict=True)
        ]


def write_price_insights(
    product_ids: Sequence[str],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    comparables: Sequence[Sequence[int]],
    insights: Sequence[Sequence[Insight]],
) -> bytes:
    """Return price insights as Parquet, one row per listing; the same bytes each time.

    Args:
        product_ids: the listings, sorted.
        low: float64, (listings,), lower end of the typical range; NaN if unknown.
        high: float64, (listings,), upper end of the typical range; NaN if unknown.
        comparables: for each listing, the indices of the most similar ones in ``product_ids``, most similar
            first.
        insights: the notes of each listing. ``low``, ``high`` and ``comparables`` of an unusual price are
            not stored again: they must be those of the listing.
    """
    import pyarrow as pa

    records = [[_to_record(insight) for insight in notes] for notes in insights]
    columns = [product_ids, low, high, comparables, records]
    schema = _schema()
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return write_parquet(pa.table(arrays, schema=schema))


def _schema() -> Any:
    """Return the Arrow schema. Comparable listings are row numbers: ids would take up most of the file."""
    import pyarrow as pa

    insight = pa.struct(
        [
            ("kind", pa.string()),
            ("text", pa.string()),
            # Evidence of an unusual price.
            ("listings", pa.int32()),
            # Evidence of a photo that is in another listing.
            ("product_id", pa.string()),
            ("image_id", pa.string()),
            ("other_image_id", pa.string()),
            ("price", pa.float64()),
            ("town", pa.string()),
            ("copy", pa.string()),
        ]
    )
    return pa.schema(
        [
            ("product_id", pa.string()),
            ("typical_low", pa.float64()),
            ("typical_high", pa.float64()),
            ("comparables", pa.list_(pa.int32())),
            ("insights", pa.list_(insight)),
        ]
    )


def _to_record(insight: Insight) -> dict[str, Any]:
    record: dict[str, Any] = {"kind": insight.kind, "text": insight.text}
    if isinstance(insight.evidence, PhotoElsewhere):
        return record | insight.evidence._asdict()
    return record | {"listings": insight.evidence.listings}


def _from_record(
    record: dict[str, Any], low: float, high: float, comparables: tuple[str, ...]
) -> Insight:
    evidence = (
        UnusualPrice(low, high, record["listings"], comparables)
        if record["kind"] == UNUSUAL_PRICE
        else PhotoElsewhere(*(record[name] for name in PhotoElsewhere._fields))
    )
    return Insight(record["kind"], record["text"], evidence)


def _describe(schema: Any) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
