import errno
import os

import pytest

from fb_marketplace_serving.release.artifacts import (
    cache_error,
    read_verified_blocks,
    release_artifacts,
)
from fb_marketplace_serving.release.manifest import Artifact, ReleaseError, artifact_of
from fb_marketplace_serving.storage.lake import Lake


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"abc")
    return artifact_of(Lake(str(tmp_path)), "a.bin")


def read(lake, artifact):
    return b"".join(read_verified_blocks(Lake(str(lake)), artifact))


def test_release_artifacts_lists_each_file_once(draft):
    twice = draft.model_copy(
        update={"artifacts": draft.artifacts | {"image_index_ids": draft.artifacts["image_index"]}}
    )

    assert {file.path for file in draft.files} == {item.path for item in draft.artifacts.values()}
    assert len(twice.files) == len(draft.files) - 1


def test_release_artifacts_includes_photo_files(tmp_path, draft):
    files = release_artifacts(Lake(str(tmp_path)), draft)

    folder = tmp_path / "07_model_output/photos"
    result = {file.path for file in files} - {file.path for file in draft.files}
    assert result == {f"07_model_output/photos/{item.name}" for item in folder.iterdir()}
    for file in files:
        assert len(read(tmp_path, file)) == file.bytes


def test_release_artifacts_rejects_damaged_photo_table(tmp_path, draft):
    (tmp_path / draft.artifacts["release_photos"].path).write_bytes(b"nonsense")

    with pytest.raises(ReleaseError, match=r"photos\.parquet"):
        release_artifacts(Lake(str(tmp_path)), draft)


def test_read_verified_returns_sealed_bytes(tmp_path, sealed):
    assert read(tmp_path, sealed) == b"abc"


@pytest.mark.parametrize(
    ("now", "pattern"),
    [
        (b"abd", "sha256"),
        (b"ab", r"\b2 bytes.*\b3\b"),
        (b"abcd", r"more than 3\b"),
        (None, "not found"),
    ],
)
def test_read_verified_rejects_other_bytes(tmp_path, sealed, now, pattern):
    if now is None:
        (tmp_path / "a.bin").unlink()
    else:
        (tmp_path / "a.bin").write_bytes(now)

    with pytest.raises(ReleaseError, match=pattern) as caught:
        read(tmp_path, sealed)
    assert str(caught.value).startswith(f"{tmp_path}/a.bin: ")


def test_read_verified_accepts_empty_file(tmp_path):
    (tmp_path / "empty").write_bytes(b"")

    assert read(tmp_path, artifact_of(Lake(str(tmp_path)), "empty")) == b""


def test_read_verified_names_unreadable_file(tmp_path):
    (tmp_path / "folder").mkdir()

    with pytest.raises(ReleaseError, match="folder"):
        read(tmp_path, Artifact(path="folder", bytes=1, sha256="0" * 64))


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "FB_CACHE_DIR"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENFILE, "fs.file-max"),
        (errno.ENOMEM, "memory limit"),
    ],
)
def test_failed_private_file_has_a_remedy_for_its_cause(tmp_path, code, remedy):
    message = str(cache_error(tmp_path, OSError(code, os.strerror(code))))

    assert os.strerror(code) in message
    assert remedy in message
    assert ("FB_CACHE_DIR" in message) is (code == errno.ENOSPC)
