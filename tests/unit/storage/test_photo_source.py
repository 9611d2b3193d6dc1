import os

import fsspec
import pytest
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.memory import MemoryFileSystem

from fb_marketplace.storage.photo_source import FetchFailure, PhotoFile, PhotoSource


@pytest.fixture(params=["disk", "memory"])
def folder(request, tmp_path):
    """A folder on disk, and one in fsspec's memory, by (folder, write)."""
    url = (
        str(tmp_path / "images") if request.param == "disk" else f"memory://{tmp_path.name}/images"
    )
    filesystem, root = fsspec.core.url_to_fs(url)

    def write(key, content):
        filesystem.makedirs(f"{root}/{key}".rpartition("/")[0], exist_ok=True)
        filesystem.pipe_file(f"{root}/{key}", content)

    return PhotoSource(url), write


def files(*sizes):
    return [PhotoFile(f"{place}.jpg", size, "") for place, size in enumerate(sizes)]


def named(*keys):
    return [PhotoFile(key, 1, "") for key in keys]


def test_files_are_listed_by_key_with_sizes(folder):
    photos, write = folder
    write("b.jpg", b"12")
    write("a.jpg", b"1")
    write("more/c.jpg", b"")

    assert [(file.key, file.size) for file in photos.files()] == [
        ("a.jpg", 1),
        ("b.jpg", 2),
        ("more/c.jpg", 0),
    ]


def test_hidden_files_are_skipped(folder):
    photos, write = folder
    write(".DS_Store", b"x")
    write("a.jpg", b"x")

    assert [file.key for file in photos.files()] == ["a.jpg"]


def test_missing_folder_has_no_files(folder):
    photos, _ = folder

    assert not photos.exists()
    assert photos.files() == []


def test_existing_folder_exists(folder):
    photos, write = folder
    write("a.jpg", b"")

    assert photos.exists()


def test_fetch_keeps_order_and_reports_missing(folder):
    photos, write = folder
    write("a.jpg", b"A")
    write("b.jpg", b"B")

    first, second = photos.files()
    (gone,) = named("gone.jpg")
    assert photos.fetch([second, gone, first]) == [b"B", FetchFailure.GONE, b"A"]


def test_replaced_file_of_same_size_is_detected(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"before")
        os.utime(tmp_path / name, (1, 1))
    photos = PhotoSource(str(tmp_path))
    files = photos.files()
    (tmp_path / "b.jpg").write_bytes(b"after!")

    assert photos.fetch(files) == [b"before", FetchFailure.REPLACED]
    assert photos.fetch(photos.files()) == [b"before", b"after!"]


def test_tag_changes_with_the_file(tmp_path):
    file = tmp_path / "a.jpg"
    file.write_bytes(b"1")
    os.utime(file, (1, 1))
    (before,) = PhotoSource(str(tmp_path)).files()
    file.write_bytes(b"2")
    os.utime(file, (2, 2))
    (after,) = PhotoSource(str(tmp_path)).files()

    assert before.etag != after.etag


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    """A folder of an asynchronous store, by (folder, write, its synchronous filesystem)."""
    memory = MemoryFileSystem()
    root = f"/{tmp_path.name}"
    photos = PhotoSource(f"memory:/{root}")
    photos.filesystem = AsyncFileSystemWrapper(memory)
    return (
        photos,
        lambda key: memory.pipe_file(f"{root}/{key}", key.encode()),
        memory,
    )


def test_names_with_wildcards_are_fetched_from_bucket(bucket):
    photos, write, _ = bucket
    keys = ["b*.jpg", "a[1].jpg", "a1.jpg", "c?.jpg", "{d}.jpg"]
    for key in (*keys, "bb.jpg", "cc.jpg"):
        write(key)

    assert photos.fetch(named(*keys)) == [key.encode() for key in keys]


def test_missing_name_with_wildcards_is_reported(bucket):
    photos, write, _ = bucket
    write("a1.jpg")
    write("bb.jpg")

    assert photos.fetch(named("a[1].jpg", "bb.jpg", "b*.jpg")) == [
        FetchFailure.GONE,
        b"bb.jpg",
        FetchFailure.GONE,
    ]


def test_bucket_error_on_one_file_is_raised(bucket, monkeypatch):
    photos, write, memory = bucket
    write("a.jpg")
    write("b.jpg")
    read = memory.cat_file

    def cat_file(path, *values, **more):
        if path.endswith("b.jpg"):
            raise PermissionError("denied: b.jpg")
        return read(path, *values, **more)

    monkeypatch.setattr(memory, "cat_file", cat_file)

    with pytest.raises(PermissionError, match="denied"):
        photos.fetch(named("a.jpg", "b.jpg"))


def test_empty_fetch_sends_no_request(bucket):
    assert bucket[0].fetch([]) == []
