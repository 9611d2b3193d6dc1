import pandas as pd
import pytest
from kedro.io import DatasetError
from kedro_datasets import pandas as kedro_pandas

from fb_marketplace.datasets.csv_table import CSVDataset
from fb_marketplace.storage.tables.csv_rows import TORN

AS_WRITTEN = {"lineterminator": "\n", "dtype": str, "keep_default_na": False, "na_filter": False}
WHOLE = ',id,name\n0,1,"oak, old"\n1,2,elm\r tree\n\n2,3,"two\nlines"\n'


def dataset(tmp_path, written, kind=CSVDataset, **load_args):
    path = tmp_path / "table.csv"
    path.write_bytes(written if isinstance(written, bytes) else written.encode())
    return kind(filepath=str(path), load_args=AS_WRITTEN | load_args)


@pytest.mark.parametrize(
    "written",
    [WHOLE, "\ufeff" + WHOLE, WHOLE.rstrip("\n"), ",id,name\n"],
    ids=["whole", "byte-order-mark", "no-newline", "header"],
)
def test_whole_rows_are_loaded_as_by_pandas(tmp_path, written):
    theirs = dataset(tmp_path, written, kedro_pandas.CSVDataset).load()

    pd.testing.assert_frame_equal(dataset(tmp_path, written).load(), theirs)


def test_torn_line_is_loaded_as_marked_row(tmp_path):
    table = dataset(tmp_path, ',id,name\n0,1,oak\n1,2,"elm\n2,3,ash\n').load()

    assert table["id"].tolist() == ["1", "", "3"]
    assert table["name"].tolist() == ["oak", "", "ash"]
    assert [bool(output) for output in table[TORN]] == [False, True, False]
    assert table.columns.tolist() == ["Unnamed: 0", "id", "name", TORN]


def test_invalid_table_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"table\.csv"):
        dataset(tmp_path, "id,name\n1,oak\n2").load()


def test_table_in_bucket_is_loaded(tmp_path):
    import fsspec

    fsspec.filesystem("memory").pipe_file("/csv/table.csv", b"id,name\n1,oak\n2\n")

    table = CSVDataset(filepath="memory:///csv/table.csv", load_args=AS_WRITTEN).load()

    assert table["id"].tolist() == ["1", ""]


def test_first_rows_are_previewed(tmp_path):
    preview = dataset(tmp_path, WHOLE).preview(nrows=2)

    assert preview["data"] == [["0", "1", "oak, old"], ["1", "2", "elm\r tree"]]
