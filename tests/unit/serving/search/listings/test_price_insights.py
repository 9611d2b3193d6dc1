import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fb_marketplace_serving.search.listings.price_insights import (
    Insight,
    PhotoElsewhere,
    PriceInsights,
    PriceInsightsError,
    PriceInsightTable,
    UnusualPrice,
    write_price_insights,
)

ELSEWHERE = Insight(
    "photo_elsewhere",
    "A photo of this listing is also in “A chair” (£30).",
    PhotoElsewhere("p3", "i1", "i3", 30.0, None, "exact"),
)
UNUSUAL = Insight(
    "unusual_price",
    "Comparable listings cost £20–£80; this one costs £500.",
    UnusualPrice(20.0, 80.0, 12, ("p3", "p1")),
)


@pytest.fixture(scope="module")
def written():
    return write_price_insights(
        ["p1", "p2", "p3"],
        np.array([5.0, 20.0, np.nan]),
        np.array([9.5, 80.0, np.nan]),
        [[1], [2, 0], []],
        [[], [UNUSUAL, ELSEWHERE], []],
    )


def changed(data, **columns):
    table = pq.read_table(io.BytesIO(data))
    for name, values in columns.items():
        place = table.column_names.index(name)
        column = pa.array(values, table.schema.field(name).type)
        table = table.set_column(place, table.schema.field(name), column)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def test_insights_round_trip(written):
    notes = PriceInsightTable.from_bytes(written)

    assert len(notes) == 3
    assert notes.get("p1") == PriceInsights((5.0, 9.5), ("p2",), ())
    assert notes.get("p2") == PriceInsights((20.0, 80.0), ("p3", "p1"), (UNUSUAL, ELSEWHERE))
    assert notes.get("p3") == PriceInsights(None, (), ())


@pytest.mark.parametrize("rows", [[], [2], [1, 2, 0, 1]])
def test_insights_of_rows_equal_those_of_each(written, rows):
    notes = PriceInsightTable.from_bytes(written)

    taken = notes.take(np.array(rows, np.int64))

    assert taken == [notes.get(f"p{row + 1}") for row in rows]


def test_write_is_deterministic(written):
    again = PriceInsightTable.from_bytes(written)
    read = [again.get(product) for product in ("p1", "p2", "p3")]

    assert written == write_price_insights(
        ["p1", "p2", "p3"],
        np.array([item.price_range[0] if item.price_range else np.nan for item in read]),
        np.array([item.price_range[1] if item.price_range else np.nan for item in read]),
        [[1], [2, 0], []],
        [item.insights for item in read],
    )


@pytest.mark.parametrize("product", ["p0", "p11", "p4", "q"])
def test_unknown_listing_is_rejected(written, product):
    with pytest.raises(KeyError, match=product):
        PriceInsightTable.from_bytes(written).get(product)


def test_table_without_listings_opens():
    nothing = np.empty(0)

    notes = PriceInsightTable.from_bytes(write_price_insights([], nothing, nothing, [], []))

    assert len(notes) == 0
    with pytest.raises(KeyError):
        notes.get("p1")


def test_non_parquet_bytes_are_rejected():
    with pytest.raises(PriceInsightsError, match=r"\b4 bytes\b.*Parquet"):
        PriceInsightTable.from_bytes(b"PAR1")


def test_other_columns_are_rejected(written):
    table = pq.read_table(io.BytesIO(written)).drop_columns(["comparables"])
    buffer = io.BytesIO()
    pq.write_table(table, buffer)

    with pytest.raises(PriceInsightsError, match=r"columns.*\bcomparables\b"):
        PriceInsightTable.from_bytes(buffer.getvalue())


@pytest.mark.parametrize("ids", [["p2", "p1", "p3"], ["p1", "p1", "p2"]])
def test_unsorted_or_repeated_listings_are_rejected(written, ids):
    with pytest.raises(PriceInsightsError, match="sorted"):
        PriceInsightTable.from_bytes(changed(written, product_id=ids))


@pytest.mark.parametrize(
    "columns",
    [
        {"typical_low": [5.0, 20.0, None]},
        {"comparables": [[1], None, []]},
        {"comparables": [[1, None], [], []]},
        {"insights": [[], [None], []]},
    ],
)
def test_missing_values_are_rejected(written, columns):
    with pytest.raises(PriceInsightsError, match="1 missing value"):
        PriceInsightTable.from_bytes(changed(written, **columns))


@pytest.mark.parametrize("place", [-1, 3])
def test_comparable_listing_out_of_range_is_rejected(written, place):
    with pytest.raises(PriceInsightsError, match=r"\b3 listings\b"):
        PriceInsightTable.from_bytes(changed(written, comparables=[[1], [place], []]))


def test_many_row_groups_read_as_one():
    ids = [f"p{row:03}" for row in range(50)]
    prices = np.arange(50.0) + 1
    data = write_price_insights(ids, prices, prices + 1, [[row] for row in range(50)], [[]] * 50)
    buffer = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(data)), buffer, row_group_size=7)

    notes = PriceInsightTable.from_bytes(buffer.getvalue())

    assert [notes.get(item) for item in ids] == [
        PriceInsights((price, price + 1), (item,), ())
        for item, price in zip(ids, prices.tolist(), strict=True)
    ]
