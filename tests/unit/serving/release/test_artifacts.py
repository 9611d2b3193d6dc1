import pytest

from fb_marketplace_serving.release.artifacts import (
    manifest_artifacts,
    read_verified_blocks,
    release_artifacts,
)
from fb_marketplace_serving.release.manifest import Artifact, ReleaseError, artifact_of
from fb_marketplace_serving.storage.lake import Lake


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"abc")
    return artifact_of(str(tmp_path), "a.bin")


def read(lake, artifact):
    return b"".join(read_verified_blocks(Lake(str(lake)), artifact))


def test_every_artifact_is_a_file_of_the_release_once(draft):
    twice = draft.model_copy(
        update={"artifacts": draft.artifacts | {"ids": draft.artifacts["index"]}}
    )

    assert {file.path for file in manifest_artifacts(draft)} == {
        each.path for each in draft.artifacts.values()
    }
    assert len(manifest_artifacts(twice)) == len(manifest_artifacts(draft)) - 1


def test_the_files_of_the_photos_are_files_of_the_release(tmp_path, draft):
    files = release_artifacts(Lake(str(tmp_path)), draft)

    folder = tmp_path / "07_model_output/photos"
    found = {file.path for file in files} - {file.path for file in manifest_artifacts(draft)}
    assert found == {f"07_model_output/photos/{each.name}" for each in folder.iterdir()}
    for file in files:
        assert len(read(tmp_path, file)) == file.bytes


def test_what_names_the_photos_has_to_be_as_it_was_sealed(tmp_path, draft):
    (tmp_path / draft.artifacts["photos"].path).write_bytes(b"nonsense")

    with pytest.raises(ReleaseError, match=r"photos\.parquet"):
        release_artifacts(Lake(str(tmp_path)), draft)


def test_gives_the_bytes_that_were_sealed(tmp_path, sealed):
    assert read(tmp_path, sealed) == b"abc"


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (b"abd", "sha256"),
        (b"ab", r"\b2 bytes.*\b3\b"),
        (b"abcd", r"more than 3\b"),
        (None, "not found"),
    ],
)
def test_refuses_other_bytes_than_were_sealed(tmp_path, sealed, now, said):
    if now is None:
        (tmp_path / "a.bin").unlink()
    else:
        (tmp_path / "a.bin").write_bytes(now)

    with pytest.raises(ReleaseError, match=said) as caught:
        read(tmp_path, sealed)
    assert str(caught.value).startswith(f"{tmp_path}/a.bin: ")


def test_an_empty_file_may_be_sealed(tmp_path):
    (tmp_path / "empty").write_bytes(b"")

    assert read(tmp_path, artifact_of(str(tmp_path), "empty")) == b""


def test_says_that_a_file_cannot_be_read(tmp_path):
    (tmp_path / "folder").mkdir()

    with pytest.raises(ReleaseError, match="folder"):
        read(tmp_path, Artifact(path="folder", bytes=1, sha256="0" * 64))
