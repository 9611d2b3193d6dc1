import pandas as pd
import pytest
from kedro.io import DatasetError, Version
from kedro_datasets.pandas import ParquetDataset

from fb_marketplace.datasets.previous_version import PreviousParquetDataset

TABLE = pd.DataFrame({"group": ["a"], "split": ["test"]})


@pytest.fixture
def filepath(tmp_path):
    return f"{tmp_path}/splits.parquet"


def test_load_without_earlier_run_is_empty(filepath):
    assert PreviousParquetDataset(filepath=filepath, version=Version(None, "v1")).load().empty
    assert PreviousParquetDataset(filepath=filepath).load().empty


def test_load_returns_earlier_version(filepath, first, second):
    ParquetDataset(filepath=filepath, version=first).save(TABLE)
    ParquetDataset(filepath=filepath, version=second).save(TABLE.iloc[:0])

    earlier = PreviousParquetDataset(filepath=filepath, version=first)

    pd.testing.assert_frame_equal(earlier.load(), TABLE, check_dtype=False)


def test_missing_version_is_an_error(filepath, first):
    with pytest.raises(DatasetError):
        PreviousParquetDataset(filepath=filepath, version=first).load()


def test_save_is_rejected_under_other_name(filepath, first):
    with pytest.raises(DatasetError):
        PreviousParquetDataset(filepath=filepath, version=first).save(TABLE)
