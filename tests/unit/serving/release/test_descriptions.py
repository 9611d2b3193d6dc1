import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fb_marketplace_serving.release.descriptions import (
    MAX_LENGTH,
    Descriptions,
    write_descriptions,
)
from fb_marketplace_serving.storage.parquet import write_parquet


def test_each_description_is_read_by_id():
    ids = sorted(f"listing/{number}?#%" for number in range(1000))
    texts = [f"About <b>{name}</b>\n" for name in ids]
    descriptions = Descriptions.from_bytes(write_descriptions(ids, texts))

    assert descriptions.product_ids == ids
    assert [descriptions.get(name) for name in ids[::97]] == texts[::97]
    assert descriptions.get("listing/1") is None


def test_description_is_read_without_reading_metadata_again(monkeypatch):
    ids = [f"{number:04}" for number in range(1000)]
    descriptions = Descriptions.from_bytes(write_descriptions(ids, ids))
    open_file, opened = pq.ParquetFile, []

    def watched(file, *, metadata=None):
        opened.append(metadata)
        return open_file(file, metadata=metadata)

    monkeypatch.setattr(pq, "ParquetFile", watched)

    assert [descriptions.get(name) for name in ids] == ids
    assert descriptions.get("") is descriptions.get("0000x") is descriptions.get("z") is None
    assert opened
    assert None not in opened


@pytest.mark.parametrize("options", [{"write_statistics": False}, {"row_group_size": 1}])
def test_rows_are_found_in_other_layouts(options):
    table = pa.table({"product_id": ["a", "c", "e"], "description": ["A", "C", "E"]})
    descriptions = Descriptions.from_bytes(write_parquet(table, **options))

    assert [descriptions.get(name) for name in "abcdef"] == ["A", None, "C", None, "E", None]


def test_rows_with_long_ids_are_found():
    ids = ["a", "b" * 5000, "c"]
    table = pa.table({"product_id": ids, "description": ["A", "B", "C"]})
    descriptions = Descriptions.from_bytes(write_parquet(table, row_group_size=1))

    assert [descriptions.get(name) for name in ids] == ["A", "B", "C"]


def test_no_descriptions_are_found_among_none():
    assert Descriptions.from_bytes(write_descriptions([], [])).get("a") is None


def test_long_description_is_cut():
    data = write_descriptions(["a", "b"], ["x" * MAX_LENGTH, "x " * MAX_LENGTH])
    descriptions = Descriptions.from_bytes(data)

    assert descriptions.get("a") == "x" * MAX_LENGTH
    assert len(descriptions.get("b")) <= MAX_LENGTH
    assert descriptions.get("b").endswith("x…")


@pytest.mark.parametrize(
    "data",
    [
        b"none",
        write_parquet(pa.table({"product_id": ["a"]})),
        write_parquet(pa.table({"product_id": ["a"], "description": [1]})),
    ],
)
def test_other_bytes_are_rejected(data):
    with pytest.raises(ValueError, match=r"not Parquet|description"):
        Descriptions.from_bytes(data)
