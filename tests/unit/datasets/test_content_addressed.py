import uuid

import pytest

from fb_marketplace.datasets.content_addressed import ContentAddressedDataset
from fb_marketplace.storage.file_handles import ContentAddressedFile, existing_sizes


@pytest.fixture(params=["disk", "object store"])
def folder(request, tmp_path):
    return f"{tmp_path}/a/b" if request.param == "disk" else f"memory://{uuid.uuid4().hex}/a/b"


def test_missing_folder_is_empty(folder):
    assert ContentAddressedDataset(folder).load() == existing_sizes(folder) == {}


def test_saved_files_are_listed(folder):
    dataset = ContentAddressedDataset(folder)
    dataset.save(ContentAddressedFile("one", b"1"))
    dataset.save(ContentAddressedFile("two", b"22"))

    assert ContentAddressedDataset(folder).load() == existing_sizes(folder) == {"one": 1, "two": 2}


def test_existing_file_is_not_rewritten(tmp_path):
    ContentAddressedDataset(str(tmp_path)).save(ContentAddressedFile("one", b"1"))
    before = (tmp_path / "one").stat().st_mtime_ns

    ContentAddressedDataset(str(tmp_path)).save(ContentAddressedFile("one", b"1"))

    assert (tmp_path / "one").stat().st_mtime_ns == before


def test_file_of_other_size_is_rewritten(tmp_path):
    (tmp_path / "one").write_bytes(b"half")

    ContentAddressedDataset(str(tmp_path)).save(ContentAddressedFile("one", b"whole"))

    assert (tmp_path / "one").read_bytes() == b"whole"
