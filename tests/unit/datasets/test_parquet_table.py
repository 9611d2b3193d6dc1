import fsspec
import pandas as pd
import pytest
from kedro.io import DatasetError

from fb_marketplace.datasets.parquet_table import ParquetDataset

TABLE = pd.DataFrame({"id": pd.array([2**53 + 1, None], "Int64"), "price": [12.5, 3.0]})


def test_ids_are_exact(tmp_path):
    TABLE.to_parquet(tmp_path / "table.parquet")

    table = ParquetDataset(filepath=str(tmp_path / "table.parquet")).load()

    assert table["id"].tolist() == [str(2**53 + 1), ""]
    assert table["price"].astype("float64").tolist() == [12.5, 3.0]


def test_table_in_bucket_is_loaded():
    fsspec.filesystem("memory").pipe_file("/parquet/table.parquet", TABLE.to_parquet())

    table = ParquetDataset(filepath="memory:///parquet/table.parquet").load()

    assert table["id"].tolist() == [str(2**53 + 1), ""]


def test_options_of_csv_are_ignored(tmp_path):
    TABLE.to_parquet(tmp_path / "table.parquet")
    options = {"lineterminator": "\n", "dtype": str, "na_filter": False}

    table = ParquetDataset(filepath=str(tmp_path / "table.parquet"), load_args=options).load()

    assert len(table) == 2


@pytest.mark.parametrize(
    ("content", "options", "pattern"),
    [(b"id\n1\n", {}, r"table\.parquet.*Parquet"), (TABLE.to_parquet(), {"nrows": 1}, "nrows")],
    ids=["csv", "option"],
)
def test_invalid_table_is_named(tmp_path, content, options, pattern):
    (tmp_path / "table.parquet").write_bytes(content)

    with pytest.raises(DatasetError, match=pattern):
        ParquetDataset(filepath=str(tmp_path / "table.parquet"), load_args=options).load()
