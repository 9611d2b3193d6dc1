import io
import os
import uuid
from datetime import date, time
from decimal import Decimal

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from s3fs.core import S3File

from fb_marketplace.errors import UserError
from fb_marketplace.storage.tables.parquet_table import HEAD_ROWS, read_head, read_table
from fb_marketplace_serving.storage.s3 import RetryingS3FileSystem

BIG = 2**53 + 1
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")


def stored(table, **options):
    """Store a table; returns its URL."""
    stream = io.BytesIO()
    if isinstance(table, pd.DataFrame):
        table.to_parquet(stream)
    else:
        pq.write_table(table, stream, **options)
    return stored_bytes(stream.getvalue())


def stored_bytes(data):
    url = f"memory://tables/{uuid.uuid4()}.parquet"
    fsspec.filesystem("memory").pipe_file(url, data)
    return url


def read(**columns):
    return read_table(stored(pa.table(columns)), {})


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pa.array([BIG, None]), [str(BIG), ""]),
        (pa.array([2**64 - 1, None], pa.uint64()), [str(2**64 - 1), ""]),
        (pa.array([7, None], pa.int8()), ["7", ""]),
        (pa.array([7.0, None, float("nan")]), ["7", "", ""]),
        (pa.array([1e22]), ["1" + "0" * 22]),
        (pa.array([Decimal(7), None], pa.decimal128(38, 10)), ["7", ""]),
        (pa.array([Decimal(10**60)], pa.decimal256(70, 2)), [str(10**60)]),
        (pa.array([ID.bytes, None], pa.uuid()), [str(ID), ""]),
        (pa.array(["a", None]), ["a", ""]),
        (pa.array(["a", None], pa.large_string()), ["a", ""]),
        (pa.array(["a", None], pa.string_view()), ["a", ""]),
        (pa.array(["a", None]).dictionary_encode(), ["a", ""]),
        (pa.array([BIG, None]).dictionary_encode(), [str(BIG), ""]),
        (pa.array(['{"a": 1}'], pa.json_()), ['{"a": 1}']),
        (pa.array([True, None]), ["true", ""]),
        (pa.array([date(2022, 2, 26), None]), ["2022-02-26", ""]),
        (pa.array([0], pa.timestamp("s")), ["1970-01-01 00:00:00.000"]),
        (pa.array([time(1, 2)], pa.time32("s")), ["01:02:00.000"]),
        (pa.array([None, None]), ["", ""]),
    ],
    ids=str,
)
def test_value_is_read_as_text(values, text):
    column = read(id=values)["id"]

    assert column.tolist() == text
    assert column.dtype == "str"


def test_unknown_time_zone_is_read_in_utc():
    moment = pa.array([0], pa.timestamp("us", "Nowhere/City"))

    assert read(at=moment)["at"].tolist() == ["1970-01-01 00:00:00.000000Z"]


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (
            pa.array([Decimal("12.5000"), None, Decimal(3)], pa.decimal128(18, 4)),
            ["12.5", None, "3"],
        ),
        (pa.array([Decimal("0.00"), Decimal("9.99")]), ["0.00", "9.99"]),
        (pa.array([12.1, float("nan")]), ["12.1", None]),
        (pa.array([12.1, None], pa.float32()), ["12.1", None]),
        (pa.array([np.float16(12.1), None], pa.float16()), ["12.1", None]),
        (pa.array([1.5, 1e-7, float("inf")]), ["1.5", "1E-7", "Infinity"]),
        (pa.array([Decimal("1.5"), None]).dictionary_encode(), ["1.5", None]),
        (
            pa.array([Decimal("123456789012345678901234567890.25")], pa.decimal256(60, 4)),
            ["123456789012345678901234567890.25"],
        ),
    ],
    ids=str,
)
def test_fractional_number_keeps_value(values, numbers):
    expected = [None if number is None else Decimal(number) for number in numbers]

    assert read(price=values)["price"].tolist() == expected


@pytest.mark.parametrize(
    "values",
    [
        pa.array([b"\xff\xd8", None]),
        pa.array([b"\xff\xd8", None], pa.binary_view()),
        pa.array([b"0" * 16, None], pa.binary(16)),
        pa.array([[1.5], None]),
        pa.array([{"amount": 1}, None]),
        pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
    ],
    ids=lambda values: str(values.type),
)
def test_bytes_and_nested_values_are_left_out(values):
    table = stored(pa.table({"id": ["a", "b"], "extra": values}))

    assert read_table(table, {}).to_dict("list") == {"id": ["a", "b"]}
    assert list(read_head(table, {}, ["id"])) == ["id"]
    with pytest.raises(UserError, match=r"'extra'.*type"):
        read_head(table, {}, ["extra"])


def test_invalid_utf8_is_replaced():
    broken = pa.Array.from_buffers(pa.string(), 2, pa.array([b"caf\xe9", b"ok"]).buffers())

    assert read(name=broken)["name"].tolist() == ["caf\ufffd", "ok"]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (pd.Index(["a", "b"], name="id"), {"id": ["a", "b"]}),
        (pd.Index([BIG, 4], name="id"), {"id": [str(BIG), "4"]}),
        (pd.RangeIndex(5, 9, 2, name="id"), {"id": ["5", "7"]}),
        (
            pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["id", "n"]),
            {"id": ["a", "b"], "n": ["1", "2"]},
        ),
        (pd.Index(["a", "b"]), {}),
        (pd.RangeIndex(2), {}),
    ],
    ids=["text", "integers", "range", "levels", "unnamed", "default"],
)
def test_named_pandas_index_is_column(index, expected):
    frame = pd.DataFrame({"title": ["oak", "elm"]}, index=index)

    assert read_table(stored(frame), {}).to_dict("list") == {"title": ["oak", "elm"]} | expected


def test_repeated_column_is_numbered():
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["id", "id"])

    assert read_table(stored(table), {}).to_dict("list") == {"id": ["1"], "id.1": ["2"]}


def test_column_with_dot_in_name_is_read():
    assert read(**{"price.gbp": pa.array([5]), "id": pa.array(["a"])}).shape == (1, 2)


def test_head_is_start_of_table():
    rows = pa.table({"id": range(3 * HEAD_ROWS), "price": [1.5] * 3 * HEAD_ROWS})
    url = stored(rows, row_group_size=HEAD_ROWS // 2)

    head, table = read_head(url, {}, ["id"]), read_table(url, {})

    assert 0 < len(head) <= HEAD_ROWS < len(table)
    pd.testing.assert_frame_equal(head, table[: len(head)])


def test_head_of_large_table_reads_few_bytes(common_bucket, seaweed, monkeypatch, tmp_path):
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    RetryingS3FileSystem.clear_instance_cache()
    noise = [os.urandom(1000).hex() for _ in range(10_000)]
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"id": noise, "title": noise}), path, use_dictionary=False)
    url = f"{common_bucket}/parquet/{uuid.uuid4()}"
    seaweed.upload(tmp_path, url)
    sizes = []
    read = S3File._fetch_range
    monkeypatch.setattr(
        S3File, "_fetch_range", lambda file, a, b: sizes.append(b - a) or read(file, a, b)
    )

    head = read_head(f"{url}/table.parquet", {}, ["id"])

    assert head["id"].tolist() == noise[: len(head)]
    assert 0 < sum(sizes) < path.stat().st_size / 2


def test_table_without_rows_has_columns():
    url = stored(pa.table({"id": pa.array([], pa.int64())}))

    assert read_table(url, {}).shape == read_head(url, {}, ["id"]).shape == (0, 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-20],
        lambda data: b"id,title\n1,oak\n" * 20,
        lambda data: data[:40] + bytes(200) + data[240:],
    ],
    ids=["truncated", "csv", "damaged"],
)
def test_damaged_file_is_rejected(damage):
    stream = io.BytesIO()
    pq.write_table(pa.table({"id": [str(number) for number in range(2000)]}), stream)

    with pytest.raises(UserError, match="Parquet"):
        read_table(stored_bytes(damage(stream.getvalue())), {})


def test_wrong_checksum_of_page_is_rejected():
    stream = io.BytesIO()
    rows = pa.table({"id": [f"listing {number}" for number in range(50)]})
    pq.write_table(rows, stream, compression="none", use_dictionary=False, write_page_checksum=True)
    data = stream.getvalue()
    read_table(stored_bytes(data), {})

    with pytest.raises(UserError, match="Parquet"):
        read_table(stored_bytes(data.replace(b"listing 25", b"listing 26")), {})


def test_error_of_store_is_kept(monkeypatch):
    url = stored(pa.table({"id": [1]}))

    class LostDisk(io.BytesIO):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    stream = LostDisk(fsspec.filesystem("memory").cat_file(url))
    monkeypatch.setattr(
        fsspec.implementations.memory.MemoryFileSystem, "open", lambda *_, **__: stream
    )
    with pytest.raises(OSError, match="Input"):
        read_table(url, {})


def test_only_options_of_text_are_ignored():
    url = stored(pa.table({"id": [1]}))

    read_table(url, {"lineterminator": "\n", "dtype": str, "keep_default_na": False, "sep": ";"})
    with pytest.raises(UserError, match="filters, nrows"):
        read_table(url, {"nrows": 5, "filters": [], "sep": ";"})
