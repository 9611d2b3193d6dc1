import tempfile
from pathlib import Path

import pytest
from kedro.io import DatasetError, Version

from fb_marketplace.datasets.streaming_file import StreamingFileDataset


@pytest.fixture(params=["disk", "file", "memory"])
def filepath(request, tmp_path):
    return {
        "disk": f"{tmp_path}/vectors/image_embeddings.json",
        "file": f"file://{tmp_path}/vectors/image_embeddings.json",
        "memory": f"memory://{tmp_path.name}/vectors/image_embeddings.json",
    }[request.param]


def pieces(*texts):
    return lambda: iter(text.encode() for text in texts)


def broken():
    yield b"{"
    raise ValueError("the table is gone")


def test_chunks_are_loaded_as_one_file(filepath):
    StreamingFileDataset(filepath).save(pieces("{", '"a": [1]', "}"))

    assert StreamingFileDataset(filepath).load().read() == b'{"a": [1]}'


def test_each_version_has_its_own_chunks(filepath, first, second):
    StreamingFileDataset(filepath, first).save(pieces("one"))
    StreamingFileDataset(filepath, second).save(pieces("two"))

    assert StreamingFileDataset(filepath, first).load().read() == b"one"
    assert StreamingFileDataset(filepath, Version(None, None)).load().read() == b"two"


def test_failed_chunk_leaves_no_file(filepath, first):
    dataset = StreamingFileDataset(filepath, first)

    with pytest.raises(DatasetError, match="the table is gone"):
        dataset.save(broken)

    assert not dataset.exists()


@pytest.mark.parametrize("root", ["", "file://"])
def test_local_chunks_are_written_next_to_the_file(tmp_path, monkeypatch, root):
    monkeypatch.setattr(tempfile, "tempdir", f"{tmp_path}/none")
    path = tmp_path / "vectors/image_embeddings.json"
    seen = []

    def watched():
        yield b"one"
        seen.extend(Path(name).suffix for name in path.parent.iterdir())
        yield b"two"

    StreamingFileDataset(f"{root}{path}").save(watched)

    assert seen == [".part"]
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == b"onetwo"


def test_failed_local_chunks_leave_nothing(tmp_path):
    with pytest.raises(DatasetError, match="the table is gone"):
        StreamingFileDataset(f"{tmp_path}/vectors/image_embeddings.json").save(broken)

    assert list((tmp_path / "vectors").iterdir()) == []


def test_missing_file_is_named(filepath):
    with pytest.raises(DatasetError, match=r"image_embeddings\.json"):
        StreamingFileDataset(filepath).load()
