"""Tables that pandas, DuckDB, Polars and PyArrow write, in random types and dialects, as clean listings."""

import csv
import uuid
from decimal import Decimal
from typing import Any, NamedTuple

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fb_marketplace.datasets.csv_table import CSVDataset
from fb_marketplace.datasets.parquet_table import ParquetDataset
from fb_marketplace.pipelines.cleaning.products import clean_products

AS_WRITTEN = {"dtype": str, "keep_default_na": False, "na_filter": False}
TEXT = st.text("abc \"',;|\t\n\r\\/éß漢😀£&0", max_size=20)

IDS = {
    "string": (pa.string(), lambda number: f"p{number}"),
    "int64": (pa.int64(), lambda number: 2**53 + 2 * number + 1),
    "uint64": (pa.uint64(), lambda number: 2**63 + 2 * number + 1),
    "decimal": (pa.decimal128(38, 0), lambda number: Decimal(10**30 + number)),
    "uuid": (pa.uuid(), lambda number: uuid.UUID(int=number + 2**100).bytes),
    "float": (pa.float64(), float),
}
PRICES = {
    "string": (pa.string(), lambda pence: f"£{Decimal(pence) / 100:,.2f}"),
    "int32": (pa.int32(), lambda pence: pence // 100),
    "float64": (pa.float64(), lambda pence: pence / 100),
    "decimal": (pa.decimal128(12, 4), lambda pence: Decimal(pence) / 100),
}
QUOTING = [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]
NULLABLE = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}
STRINGS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]


class Listings(NamedTuple):
    """A table, and the same one as text."""

    table: pa.Table
    text: pd.DataFrame


@st.composite
def drawn_listings(draw: st.DrawFn, id_types: list[str]) -> Listings:
    """Return up to five listings with columns of random types; some ids, prices and texts are missing."""
    count = draw(st.integers(1, 5))
    id_type, id_of = IDS[draw(st.sampled_from(id_types))]
    price_type, price_of = PRICES[draw(st.sampled_from(sorted(PRICES)))]
    ids = [draw(st.none() | st.just(id_of(n)) | st.just(id_of(0))) for n in range(count)]
    prices = [draw(st.none() | st.integers(0, 10**8).map(price_of)) for _ in range(count)]
    string = draw(st.sampled_from(STRINGS))
    texts = {
        "product_name": [draw(TEXT) for _ in range(count)],
        "product_description": [draw(st.none() | TEXT) for _ in range(count)],
        "category": [draw(st.sampled_from(["Home / Chairs", "Sport & Co / Bikes"]))] * count,
        "location": [draw(st.sampled_from(["Leeds, West Yorkshire", "Hull", None]))] * count,
    }
    columns = {
        "id": pa.array(ids, id_type),
        "price": pa.array(prices, price_type),
        **{name: pa.array(values, pa.string()).cast(string) for name, values in texts.items()},
    }
    return Listings(
        pa.table(columns),
        pd.DataFrame({"id": map(as_text, ids), "price": map(as_text, prices)} | texts).fillna(""),
    )


def as_text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bytes():
            return str(uuid.UUID(bytes=value))
        case float() if value.is_integer():
            return str(int(value))
    return str(value)


def with_extra_columns(table: pa.Table) -> pa.Table:
    rows = table.num_rows
    return (
        table.append_column("photo", pa.array([b"\xff\xd8"] * rows))
        .append_column("tags", pa.array([["a", "b"]] * rows))
        .append_column("sold", pa.array([True] * rows))
        .append_column("seen", pa.array([0] * rows, pa.timestamp("us", "UTC")))
    )


def write_parquet(writer: str, table: pa.Table, path: str, draw: Any) -> None:
    table = with_extra_columns(table)
    match writer:
        case "pandas":
            frame = table.to_pandas(types_mapper=NULLABLE.get)
            if draw(st.booleans()):
                frame = frame.set_index("id")
            frame.to_parquet(path)
        case "duckdb":
            duckdb.from_arrow(table).write_parquet(path)
        case "polars":
            # Polars has no UUIDs: it writes bytes.
            ids = plain_column(table["id"])
            pl.from_arrow(table.set_column(0, "id", ids)).write_parquet(path)
        case "pyarrow":
            pq.write_table(table, path, row_group_size=draw(st.sampled_from([1, 2, 100])))


def write_csv(writer: str, table: pa.Table, path: str, draw: Any) -> dict[str, Any]:
    """Write a table; returns the ``load_args`` that are not detected."""
    sep = draw(st.sampled_from([",", ";", "|", "\t"]))
    plain = pa.table({name: plain_column(table[name]) for name in table.column_names})
    match writer:
        case "pandas":
            options = {
                "quotechar": draw(st.sampled_from("\"'")),
                **draw(st.sampled_from([{}, {"doublequote": False, "escapechar": "\\"}])),
            }
            frame = plain.to_pandas(types_mapper=NULLABLE.get)
            frame.to_csv(
                path,
                sep=sep,
                index=False,
                quoting=draw(st.sampled_from(QUOTING)),
                lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
                encoding=draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])),
                **options,
            )
            return options
        case "duckdb":
            duckdb.from_arrow(plain).write_csv(path, sep=sep, header=True, quotechar='"')
        case "polars":
            style = draw(st.sampled_from(["necessary", "always", "non_numeric"]))
            pl.from_arrow(plain).write_csv(path, separator=sep, quote_style=style)
        case "pyarrow":
            options = pacsv.WriteOptions(
                delimiter=sep, quoting_style=draw(st.sampled_from(["needed", "all_valid"]))
            )
            pacsv.write_csv(plain, path, options)
    return {}


def plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as a type that all writers of CSV know."""
    if isinstance(column.type, pa.UuidType):
        return pa.chunked_array(
            [pa.array([value and str(value) for value in column.to_pylist()], pa.string())]
        )
    return column if pa.types.is_primitive(column.type) else column.cast(pa.string())


def check_listings(
    data: st.DataObject, writer: str, kind: str, folder: Any, parameters: Any
) -> None:
    # A CSV table has ids as they are written: 7.0 is another id than 7.
    id_types = [name for name in IDS if kind == "parquet" or name != "float"]
    listings = data.draw(drawn_listings(id_types))
    path = str(folder / f"table.{kind}")
    if kind == "parquet":
        write_parquet(writer, listings.table, path, data.draw)
        raw = ParquetDataset(filepath=path).load()
    else:
        dialect = write_csv(writer, listings.table, path, data.draw)
        raw = CSVDataset(filepath=path, load_args=AS_WRITTEN | dialect).load()

    expected = clean_products(listings.text, parameters)
    cleaned = clean_products(raw[listings.text.columns], parameters)

    pd.testing.assert_frame_equal(cleaned.rows, expected.rows)
    pd.testing.assert_frame_equal(cleaned.quarantined, expected.quarantined)


@pytest.fixture(scope="module")
def parameters(cleaning):
    products = cleaning.products.model_copy(update={"required_columns": ("product_id", "title")})
    return cleaning.model_copy(update={"products": products})


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("writer", ["pandas", "duckdb", "polars", "pyarrow"])
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_writer_gives_the_same_listings(data, writer, kind, tmp_path, parameters):
    check_listings(data, writer, kind, tmp_path, parameters)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("writer", ["pandas", "duckdb", "polars", "pyarrow"])
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_writer_gives_the_same_listings_often(data, writer, kind, tmp_path, parameters):
    check_listings(data, writer, kind, tmp_path, parameters)
