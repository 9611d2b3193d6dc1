from pathlib import Path

import pytest
from kedro.io import DatasetError, Version

from fb_marketplace.datasets.file import FileDataset


@pytest.fixture(params=["disk", "file", "memory"])
def filepath(request, tmp_path):
    return {
        "disk": f"{tmp_path}/models/encoder.onnx",
        "file": f"file://{tmp_path}/models/encoder.onnx",
        "memory": f"memory://{tmp_path.name}/models/encoder.onnx",
    }[request.param]


def test_bytes_are_read_back_where_they_were_saved(filepath):
    FileDataset(filepath).save(b"graph")

    stored = FileDataset(filepath).load()

    assert stored.read() == b"graph"
    assert stored.url.endswith("models/encoder.onnx")


def test_each_version_has_its_own_bytes(filepath, first, second):
    FileDataset(filepath, first).save(b"one")
    FileDataset(filepath, second).save(b"two")

    assert FileDataset(filepath, first).load().read() == b"one"
    assert FileDataset(filepath, second).load().read() == b"two"
    assert FileDataset(filepath, Version(None, None)).load().read() == b"two"


def test_a_version_is_written_once(filepath, first):
    FileDataset(filepath, first).save(b"one")

    with pytest.raises(DatasetError, match="must not exist"):
        FileDataset(filepath, first).save(b"other")


def test_exists_once_it_is_saved(filepath, first):
    for dataset in (FileDataset(filepath), FileDataset(f"{filepath}.v", first)):
        assert not dataset.exists()
        dataset.save(b"")
        assert dataset.exists()


def test_a_file_that_is_not_there_is_told_by_its_name(filepath):
    with pytest.raises(DatasetError, match=r"encoder\.onnx"):
        FileDataset(filepath).load()


def test_a_version_that_is_not_there_is_told_by_its_name(filepath, first, second):
    FileDataset(filepath, first).save(b"one")

    with pytest.raises(DatasetError, match="2026-01-02"):
        FileDataset(filepath, second).load()


def test_a_path_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    FileDataset("models/encoder.onnx").save(b"graph")

    assert Path("models/encoder.onnx").read_bytes() == b"graph"
    assert FileDataset("models/encoder.onnx").load().read() == b"graph"
