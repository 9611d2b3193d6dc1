import pytest
from kedro.io import DatasetError, Version

from fb_marketplace.datasets.checkpoints import CheckpointsDataset


@pytest.fixture(params=["disk", "file", "memory"])
def filepath(request, tmp_path):
    return {
        "disk": f"{tmp_path}/models/checkpoints",
        "file": f"file://{tmp_path}/models/checkpoints",
        "memory": f"memory://{tmp_path.name}/models/checkpoints",
    }[request.param]


def read(dataset):
    return {name: stored.read() for name, stored in dataset.load().items()}


def test_files_are_loaded_by_name(filepath):
    CheckpointsDataset(filepath).save({"epoch_2": lambda: b"two", "epoch_1": lambda: b"one"})

    assert read(CheckpointsDataset(filepath)) == {"epoch_1": b"one", "epoch_2": b"two"}
    assert list(CheckpointsDataset(filepath).load()) == ["epoch_1", "epoch_2"]


def test_file_is_loaded_lazily(filepath):
    dataset = CheckpointsDataset(filepath)
    written_before = []

    def second():
        written_before.extend(dataset.load())
        return b"two"

    dataset.save({"epoch_1": lambda: b"one", "epoch_2": second})

    assert written_before == ["epoch_1"]


def test_each_version_has_its_own_files(filepath, first, second):
    CheckpointsDataset(filepath, first).save({"epoch_1": lambda: b"one"})
    CheckpointsDataset(filepath, second).save({"epoch_2": lambda: b"two"})

    assert read(CheckpointsDataset(filepath, first)) == {"epoch_1": b"one"}
    assert read(CheckpointsDataset(filepath, second)) == {"epoch_2": b"two"}
    assert read(CheckpointsDataset(filepath, Version(None, None))) == {"epoch_2": b"two"}


def test_version_is_written_once(filepath, first):
    CheckpointsDataset(filepath, first).save({"epoch_1": lambda: b"one"})

    with pytest.raises(DatasetError, match="must not exist"):
        CheckpointsDataset(filepath, first).save({"epoch_1": lambda: b"other"})


def test_exists_after_save(filepath, first):
    for dataset in (CheckpointsDataset(filepath), CheckpointsDataset(f"{filepath}.v", first)):
        assert not dataset.exists()
        dataset.save({"epoch_1": lambda: b"one"})
        assert dataset.exists()


def test_missing_folder_is_named(filepath):
    with pytest.raises(DatasetError, match="models/checkpoints"):
        CheckpointsDataset(filepath).load()


def test_missing_version_is_named(filepath, first, second):
    CheckpointsDataset(filepath, first).save({"epoch_1": lambda: b"one"})

    with pytest.raises(DatasetError, match="2026-01-02"):
        CheckpointsDataset(filepath, second).load()


def test_path_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    CheckpointsDataset("models/checkpoints").save({"epoch_1": lambda: b"one"})

    assert (tmp_path / "models/checkpoints/epoch_1").read_bytes() == b"one"
    assert read(CheckpointsDataset("models/checkpoints")) == {"epoch_1": b"one"}
