"""What a buyer may want to know of a price: what alike listings ask, and notes with their evidence.

All of it is made beforehand. A note says what was found, and never what to think of it.
"""

import io
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

UNUSUAL_PRICE: Final = "unusual_price"
PHOTO_ELSEWHERE: Final = "photo_elsewhere"


class UnusualPrice(NamedTuple):
    """Evidence that a price lies far outside of what alike listings ask.

    Attributes:
        low: what is typical begins here, in the currency's units.
        high: it ends here.
        listings: how many alike listings that is taken from.
        alike: the most alike of them, the first first.
    """

    low: float
    high: float
    listings: int
    alike: tuple[str, ...]


class PhotoElsewhere(NamedTuple):
    """Evidence that a photo stands in another listing, of another price or in another town.

    Attributes:
        product_id: the other listing.
        image_id: the photo in this listing.
        other_image_id: the photo in the other.
        price: what the other asks, as listed.
        town: where the other is offered, if known.
        copy: ``exact`` where both photos are the same file or picture, else ``near``.
    """

    product_id: str
    image_id: str
    other_image_id: str
    price: float
    town: str | None
    copy: str


class Insight(NamedTuple):
    """What a buyer may want to look at.

    Attributes:
        kind: ``unusual_price`` or ``photo_elsewhere``.
        text: a sentence to show.
        evidence: what it rests on.
    """

    kind: str
    text: str
    evidence: UnusualPrice | PhotoElsewhere


class PriceInsights(NamedTuple):
    """What is known of a listing's price.

    Attributes:
        typical: from where to where alike listings ask, in the currency's units; None where too few are
            alike, or the listing's own price is not meant as one.
        alike: the most alike listings that ask a price, the first first.
        notes: what stands beside the price; mostly nothing.
    """

    typical: tuple[float, float] | None
    alike: tuple[str, ...]
    notes: tuple[Insight, ...]


class PriceInsightsError(ValueError):
    """Bytes that are no price notes; says what was found and what was expected."""


class PriceInsightTable:
    """The price notes of all listings. Safe to share between threads."""

    def __init__(self, table: Any) -> None:
        """Take a ``pyarrow.Table``; see :meth:`from_bytes`."""
        import pyarrow.compute as pc

        self._ids, self._low, self._high, self._alike, self._notes = (
            column.combine_chunks() for column in table.columns
        )
        if len(self._ids) > 1 and not pc.all(pc.less(self._ids[:-1], self._ids[1:])).as_py():
            raise PriceInsightsError(
                f"found {len(self._ids):,} listings that are not sorted by id, each once"
            )
        places = self._alike.flatten()
        if len(places) and not 0 <= pc.min(places).as_py() <= pc.max(places).as_py() < len(self):
            raise PriceInsightsError(
                f"found places of alike listings up to {pc.max(places).as_py():,}; expected each to be "
                f"one of {len(self):,} listings"
            )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Open what :func:`write_price_notes` gave.

        Raises:
            PriceNotesError: it is something else.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table: Any = pq.ParquetFile(io.BytesIO(data)).read()
        except (pa.ArrowInvalid, OSError) as error:
            raise PriceInsightsError(
                f"found {len(data):,} bytes that are no Parquet ({error})"
            ) from error
        expected = _schema()
        if not table.schema.equals(expected):
            raise PriceInsightsError(
                f"found the columns {_told(table.schema)}; expected {_told(expected)}: "
                "run the pipeline pricing again"
            )
        return cls(table)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def product_ids(self) -> tuple[str, ...]:
        """The listings, sorted."""
        return tuple(self._ids.to_pylist())

    def of(self, product_id: str) -> PriceInsights:
        """Give what is known of a listing's price.

        Raises:
            KeyError: there is no such listing.
        """
        row = bisect_left(range(len(self)), product_id, key=self._id)
        if row == len(self) or self._id(row) != product_id:
            raise KeyError(product_id)
        low, high = self._low[row].as_py(), self._high[row].as_py()
        alike = tuple(self._id(place) for place in self._alike[row].as_py())
        notes = tuple(_note(told, low, high, alike) for told in self._notes[row].as_py())
        return PriceInsights(None if np.isnan(low) else (low, high), alike, notes)

    def _id(self, row: int) -> str:
        return str(self._ids[row].as_py())


def write_price_insights(
    product_ids: Sequence[str],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    alike: Sequence[Sequence[int]],
    notes: Sequence[Sequence[Insight]],
) -> bytes:
    """Write price notes as Parquet, a row a listing; the same bytes each time.

    Args:
        product_ids: the listings, sorted.
        low: (listings,), where what is typical begins; NaN where that is not known.
        high: (listings,), where it ends.
        alike: places in ``product_ids`` of the most alike of each, the first first.
        notes: of each. An unusual price has ``low``, ``high`` and ``alike`` of its listing as evidence.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [product_ids, low, high, alike, [[_row(note) for note in each] for each in notes]]
    table = pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, _schema(), strict=True)],
        schema=_schema(),
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _schema() -> Any:
    """Give the columns. Alike listings are told by their rows: so many ids would be most of the file."""
    import pyarrow as pa

    note = pa.struct(
        [
            ("kind", pa.string()),
            ("text", pa.string()),
            # Of an unusual price.
            ("listings", pa.int32()),
            # Of a photo that stands elsewhere.
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
            ("alike", pa.list_(pa.int32())),
            ("notes", pa.list_(note)),
        ]
    )


def _row(note: Insight) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": note.kind, "text": note.text}
    if isinstance(note.evidence, PhotoElsewhere):
        return told | note.evidence._asdict()
    return told | {"listings": note.evidence.listings}


def _note(told: dict[str, Any], low: float, high: float, alike: tuple[str, ...]) -> Insight:
    evidence = (
        UnusualPrice(low, high, told["listings"], alike)
        if told["kind"] == UNUSUAL_PRICE
        else PhotoElsewhere(*(told[name] for name in PhotoElsewhere._fields))
    )
    return Insight(told["kind"], told["text"], evidence)


def _told(schema: Any) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
