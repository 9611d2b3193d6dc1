import resource
from pathlib import Path

import numpy as np
import pytest

from fb_marketplace_serving.storage.private_file import (
    PrivateFile,
    PrivateFolder,
    register_mapping,
    release_pages,
)


def test_content_is_that_of_all_blocks(tmp_path):
    file = PrivateFile.from_blocks([b"abc", b"", b"d" * 200_000], tmp_path)

    assert bytes(file.content) == b"abc" + b"d" * 200_000
    assert file.read_all() == bytes(file.content)
    assert Path(file.path).read_bytes() == bytes(file.content)


def test_empty_file_has_empty_content(tmp_path):
    assert PrivateFile(tmp_path).content == b""


def test_file_has_no_name(tmp_path):
    file = PrivateFile.from_blocks([b"abc"], tmp_path)

    assert list(tmp_path.iterdir()) == []
    assert file.content[1:2] == b"b"


def test_content_is_readable_after_its_file_object_is_gone(tmp_path):
    content = PrivateFile.from_blocks([b"abc"], tmp_path).content

    assert content[:] == b"abc"


def test_content_is_readable_after_pages_are_released(tmp_path):
    content = PrivateFile.from_blocks([b"abc" * 10_000], tmp_path).content
    before = content[:]

    release_pages()

    assert content[:] == before


def test_memory_of_no_file_is_never_released():
    owner = PrivateFile  # any object that stays
    values = np.arange(1_000_000)
    register_mapping(owner, values.ctypes.data)

    release_pages()

    assert values.sum() == 499_999_500_000


def test_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        PrivateFile(tmp_path / "none")


def test_write_beyond_the_space_is_an_os_error(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            PrivateFile.from_blocks([b"a" * 100_001], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_files_of_folder_are_opened_by_name_until_it_is_gone(tmp_path):
    folder = PrivateFolder(tmp_path)
    folder.add("data/a.lance", PrivateFile.from_blocks([b"abc"], tmp_path))
    path = folder.path

    assert (path / "data/a.lance").read_bytes() == b"abc"
    del folder
    assert list(tmp_path.iterdir()) == []


def test_content_is_equal_if_random_reads_are_expected(tmp_path):
    file = PrivateFile.from_blocks([b"abc" * 10_000], tmp_path)

    file.expect_random_reads()

    assert file.content[:] == b"abc" * 10_000


def test_random_reads_of_empty_file_are_expected(tmp_path):
    PrivateFile(tmp_path).expect_random_reads()


def test_missing_folder_of_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        PrivateFolder(tmp_path / "none")
