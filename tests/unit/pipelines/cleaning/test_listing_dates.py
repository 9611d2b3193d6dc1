"""Dates of listings, their own or those of their photos."""

import time
from datetime import date, datetime

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from fb_marketplace.pipelines.cleaning.images import clean_image_rows
from fb_marketplace.pipelines.cleaning.products import add_photo_columns, clean_products
from fb_marketplace.schemas.cleaning import CleanedProducts, ImageRows
from fb_marketplace.storage.tables import parquet_table

DAY = 1_645_833_600  # 2022-02-26


@pytest.fixture
def dated(cleaning):
    """The parameters of a table of listings with dates in the column ``listed``."""
    columns = {**cleaning.products.columns, "created_at": "listed"}
    products = cleaning.products.model_copy(update={"columns": columns})
    return cleaning.model_copy(update={"products": products})


def listed(frame):
    return [None if pd.isna(value) else value for value in frame["created_at"]]


def flags(frame):
    return frame["date_flag"].fillna("").tolist()


@pytest.mark.parametrize(
    ("value", "date", "flag"),
    [
        ("2022-02-26", DAY, ""),
        (f"{DAY}", DAY, ""),
        ("\u00a02022-02-26\u200b", DAY, ""),
        ("", None, ""),
        ("null", None, ""),
        ("N/A", None, ""),
        ("soon", None, "unreadable"),
        ("26/02/2022", None, "unreadable"),
        ("0001-01-01T00:00:00", None, "early"),
        ("0", None, "early"),
        ("9999-12-31", None, "future"),
    ],
)
def test_bad_date_keeps_its_listing(raw_products, dated, value, date, flag):
    result = clean_products(raw_products({"listed": value}, {"listed": "2022-02-26"}), dated)

    CleanedProducts.validate(result.rows)
    assert listed(result.rows) == [date, DAY]
    assert flags(result.rows) == [flag, ""]
    assert result.quarantined.empty


def test_date_after_the_run_is_unknown(raw_products, dated):
    now = int(time.time())
    dates = (now - 3600, now + 3600, now + 3 * 86_400)

    rows = clean_products(raw_products(*({"listed": f"{date}"} for date in dates)), dated).rows

    assert listed(rows) == [*dates[:2], None]
    assert flags(rows) == ["", "", "future"]


def test_format_of_the_table_is_used(raw_products, dated):
    british = dated.products.model_copy(update={"date_formats": ("%d/%m/%Y",)})
    parameters = dated.model_copy(update={"products": british})

    rows = clean_products(raw_products({"listed": "03/04/2022"}), parameters).rows

    assert listed(rows) == [1_648_944_000]


MOMENT = datetime(2022, 2, 26, 10, 11, 12)  # noqa: DTZ001
TIME = DAY + 10 * 3600 + 11 * 60 + 12
ZONES = ("UTC", "Europe/London", "Asia/Kolkata", "+05:30")


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        *((pa.timestamp(unit), MOMENT, TIME) for unit in ("s", "ms", "us", "ns")),
        *((pa.timestamp("ns", zone), TIME * 10**9, TIME) for zone in ZONES),
        *((pa.timestamp("s", zone), TIME, TIME) for zone in ZONES),
        (pa.timestamp("us"), datetime(1, 1, 1), None),  # noqa: DTZ001
        (pa.timestamp("s"), 253_402_300_799, None),
        (pa.date32(), date(2022, 2, 26), DAY),
        (pa.date64(), date(2022, 2, 26), DAY),
        *((pa.int64(), TIME * scale, TIME) for scale in (1, 10**3, 10**6, 10**9)),
        (pa.uint32(), TIME, TIME),
        (pa.int32(), 20220226, DAY),
        *((pa.float64(), TIME * scale, TIME) for scale in (1.0, 1e3, 1e6)),
        (pa.float64(), TIME + 0.75, TIME),
        (pa.float64(), float("nan"), None),
        (pa.decimal128(20, 3), TIME, TIME),
        (pa.string(), "2022-02-26", DAY),
        (pa.dictionary(pa.int8(), pa.string()), "2022-02-26", DAY),
        (pa.bool_(), True, None),
        (pa.time32("s"), 3600, None),
        (pa.null(), None, None),
        (pa.binary(), b"2022-02-26", None),
    ],
    ids=str,
)
def test_dates_of_parquet_types_are_read(raw_products, dated, tmp_path, type_, value, expected):
    table = pa.Table.from_pandas(raw_products({}, {}), preserve_index=False)
    table = table.append_column("listed", pa.array([value, None], type_))
    pq.write_table(table, tmp_path / "Products.parquet")

    rows = clean_products(
        parquet_table.read_table(str(tmp_path / "Products.parquet"), {}), dated
    ).rows

    assert listed(rows) == [expected, None]


@pytest.mark.parametrize("name", ["%d/%m", "%H:%M", "%Y", "%y/%m", "soon", "%", "%d/%m/%Q"])
def test_format_without_day_month_and_year_is_refused(cleaning, name):
    values = cleaning.model_dump()
    values["products"]["date_formats"] = [name]

    with pytest.raises(ValidationError, match="day, month and year"):
        type(cleaning).model_validate(values)


@pytest.mark.parametrize("columns", [{}, {"created_at": "2022-02-26"}])
def test_column_that_is_not_configured_is_no_date(raw_products, cleaning, columns):
    rows = clean_products(raw_products(columns), cleaning).rows

    assert listed(rows) == [None]
    assert flags(rows) == [""]


def test_missing_column_gives_no_dates(raw_products, dated, caplog):
    assert listed(clean_products(raw_products({}), dated).rows) == [None]
    assert "no column 'listed'" in caplog.text


def dated_rows(products, cleaning, *rows):
    """Clean image rows of listings: product, date."""
    raw = pd.DataFrame(
        [(f"i{number}", *row) for number, row in enumerate(rows)],
        columns=["id", "product_id", "create_time"],
        dtype="str",
    )
    return clean_image_rows(raw, products.rows, products.quarantined, cleaning).rows


def test_listing_without_date_gets_that_of_its_oldest_photo(raw_products, dated):
    products = clean_products(
        raw_products({"listed": "2022-03-01"}, {}, {"listed": "soon"}, {}, {}), dated
    )
    rows = dated_rows(
        products,
        dated,
        ("p0", "2022-02-26"),
        ("p1", "2022-02-28"),
        ("p1", "2022-02-26T00:00:00Z"),
        ("p1", "later"),
        ("p2", "2022-02-26"),
        ("p3", "later"),
    )

    ImageRows.validate(rows)
    result = add_photo_columns(products.rows, rows[["image_id", "product_id"]], rows)

    assert listed(result) == [DAY + 3 * 86_400, DAY, DAY, None, None]
    assert flags(result) == ["", "", "unreadable", "unreadable", ""]
    assert result["photos"].tolist() == [1, 3, 1, 1, 0]
