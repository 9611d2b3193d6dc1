import pytest

from fb_marketplace.storage.checkpoint_dir import CheckpointDir
from fb_marketplace_serving.storage import local


@pytest.fixture(params=["disk", "file", "memory"])
def folder(request, tmp_path):
    return CheckpointDir(
        {
            "disk": f"{tmp_path}/work",
            "file": f"file://{tmp_path}/work",
            "memory": f"memory://{tmp_path.name}/work",
        }[request.param]
    )


def test_file_round_trips(folder):
    folder.write("state", b"first")
    folder.write("weights", b"\x00\xff")

    assert folder.read("state") == b"first"
    assert folder.read("weights") == b"\x00\xff"
    assert folder.names() == ["state", "weights"]


def test_existing_file_is_replaced(folder):
    folder.write("state", b"a first one that is longer")
    folder.write("state", b"second")

    assert folder.read("state") == b"second"
    assert folder.names() == ["state"]


def test_missing_folder_is_empty(folder):
    assert folder.names() == []


def test_file_can_be_removed(folder):
    folder.write("state", b"")
    folder.write("weights", b"")
    folder.remove("state")

    assert folder.names() == ["weights"]


@pytest.mark.parametrize("ending", ["", "/"])
def test_subfolders_are_separate(folder, ending):
    above = CheckpointDir(folder.url + ending)
    above.under("one").write("state", b"one")
    above.under("other").write("state", b"other")

    assert above.under("one").read("state") == b"one"
    assert above.under("one").names() == ["state"]


@pytest.mark.parametrize("before", [None, b"whole"])
def test_failed_write_leaves_old_file(tmp_path, monkeypatch, before):
    folder = CheckpointDir(str(tmp_path))
    if before is not None:
        folder.write("state", before)

    def break_off(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(local.os, "fsync", break_off)

    with pytest.raises(KeyboardInterrupt):
        folder.write("state", b"another that is not written to its end")

    assert folder.names() == ([] if before is None else ["state"])
    assert before is None or folder.read("state") == before


def test_failed_write_does_not_block_next(tmp_path):
    (tmp_path / "state.part").write_bytes(b"half of")
    folder = CheckpointDir(str(tmp_path))

    folder.write("state", b"whole")

    assert folder.read("state") == b"whole"
    assert folder.names() == ["state"]
