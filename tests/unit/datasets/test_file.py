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


def test_bytes_round_trip(filepath):
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


def test_version_is_written_once(filepath, first):
    FileDataset(filepath, first).save(b"one")

    with pytest.raises(DatasetError, match="must not exist"):
        FileDataset(filepath, first).save(b"other")


def test_exists_after_save(filepath, first):
    for dataset in (FileDataset(filepath), FileDataset(f"{filepath}.v", first)):
        assert not dataset.exists()
        dataset.save(b"")
        assert dataset.exists()


def test_missing_file_is_named(filepath):
    with pytest.raises(DatasetError, match=r"encoder\.onnx"):
        FileDataset(filepath).load()


def test_missing_version_is_named(filepath, first, second):
    FileDataset(filepath, first).save(b"one")

    with pytest.raises(DatasetError, match="2026-01-02"):
        FileDataset(filepath, second).load()


def test_path_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    FileDataset("models/encoder.onnx").save(b"graph")

    assert Path("models/encoder.onnx").read_bytes() == b"graph"
    assert FileDataset("models/encoder.onnx").load().read() == b"graph"
