import pytest

from fb_marketplace_serving.lake import Lake
from fb_marketplace_serving.manifest import Artifact, ReleaseError, artifact_of
from fb_marketplace_serving.release_files import files_of, sealed_blocks


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"abc")
    return artifact_of(str(tmp_path), "a.bin")


def read(lake, artifact):
    return b"".join(sealed_blocks(Lake(str(lake)), artifact))


def test_every_artifact_is_a_file_of_the_release_once(draft):
    twice = draft.model_copy(
        update={"artifacts": draft.artifacts | {"ids": draft.artifacts["index"]}}
    )

    assert {file.path for file in files_of(draft)} == {
        each.path for each in draft.artifacts.values()
    }
    assert len(files_of(twice)) == len(files_of(draft)) - 1


def test_gives_the_bytes_that_were_sealed(tmp_path, sealed):
    assert read(tmp_path, sealed) == b"abc"


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (b"abd", "found sha256"),
        (b"ab", "found 2 bytes; expected 3"),
        (b"abcd", "found more than 3 bytes"),
        (None, "not found; expected 3 bytes"),
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

    with pytest.raises(ReleaseError, match="cannot be read"):
        read(tmp_path, Artifact(path="folder", bytes=1, sha256="0" * 64))
