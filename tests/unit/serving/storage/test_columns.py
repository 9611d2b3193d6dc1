import numpy as np
import pyarrow as pa
import pytest

from fb_marketplace_serving.storage.columns import IdColumn, map_table, to_numpy

ORDERS = [("a", "b", "é", "😀"), ("b", "😀", "a", "é")]


@pytest.mark.parametrize("ids", ORDERS)
def test_id_is_found_in_its_row(ids):
    column = IdColumn.from_ids(ids)

    assert [column.find(name) for name in ids] == [0, 1, 2, 3]
    assert all(name in column for name in ids)


@pytest.mark.parametrize("ids", [*ORDERS, ()])
@pytest.mark.parametrize("unknown", ["", "aa", "z", "\U0010ffff", None, 1])
def test_unknown_id_is_not_found(ids, unknown):
    assert IdColumn.from_ids(ids).find(unknown) is None
    assert unknown not in IdColumn.from_ids(ids)


def test_repeated_id_is_found_once():
    column = IdColumn.from_ids(["b", "a", "b"])

    assert column.find("b") in (0, 2)
    assert not column.is_ascending


def test_find_all_returns_rows_and_minus_one():
    rows = IdColumn.from_ids(["b", "a"]).find_all(IdColumn.from_ids(["a", "x", "b", "a"]))

    assert rows.tolist() == [1, -1, 0, 1]


def test_column_equals_the_same_ids_in_the_same_order():
    column = IdColumn.from_ids(["a", "b"])

    assert column == IdColumn.from_ids(("a", "b"))
    assert column == ["a", "b"]
    assert column != ["b", "a"]
    assert column != "ab"


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view()])
def test_ids_of_another_string_type_are_equal(kind):
    column = IdColumn(pa.array(["a", "b"], kind))

    assert column == IdColumn.from_ids(["a", "b"])
    assert column.find("b") == 1
    assert IdColumn.from_ids(["b"]).find_all(column).tolist() == [-1, 0]


def test_column_iterates_slices_and_sorts():
    column = IdColumn.from_ids([f"{number:05}" for number in range(10_000)][::-1])

    assert next(iter(column)) == "09999"
    assert column[-1] == "00000"
    assert list(column[2:4]) == ["09997", "09996"]
    assert list(column.sorted()) == sorted(column)


@pytest.mark.parametrize("kind", [pa.int64(), pa.float32(), pa.float64()])
def test_missing_numbers_are_replaced(kind):
    array = pa.array([9, None, 1, None], kind)

    assert to_numpy(array, pa.float64(), np.nan)[[0, 2]].tolist() == [9, 1]
    assert np.isnan(to_numpy(array, pa.float64(), np.nan)[[1, 3]]).all()
    assert to_numpy(array[1:], pa.int64(), -1).tolist() == [-1, 1, -1]


def test_mapped_table_equals_the_table(tmp_path):
    table = pa.table({"id": ["a", None], "rows": [[1, 2], []]})
    chunked = pa.concat_tables([table, table])

    assert map_table(chunked, tmp_path).equals(chunked)
    assert map_table(table.slice(0, 0), tmp_path).equals(table.slice(0, 0))
    assert list(tmp_path.iterdir()) == []


def test_mapped_table_takes_no_memory_of_arrow(tmp_path):
    table = pa.table({"number": pa.array(range(1_000_000), pa.int64())})
    before = pa.total_allocated_bytes()

    mapped = map_table(table, tmp_path)
    del table

    assert pa.total_allocated_bytes() < before - 7_000_000
    assert mapped.column(0)[999_999].as_py() == 999_999


@pytest.mark.parametrize("values", [[1, 2], [["a"], ["b"]], [1.5]])
def test_other_ids_than_text_are_rejected(values):
    with pytest.raises(ValueError, match=r"found ids of type .*; expected text"):
        IdColumn(pa.array(values))
