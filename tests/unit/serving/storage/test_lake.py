import hashlib
import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from fb_marketplace_serving.storage import local
from fb_marketplace_serving.storage.lake import ConcurrentWriteError, Lake


@pytest.fixture(params=["disk", "file url", "object store", "S3"])
def lake(request, tmp_path):
    if request.param == "S3":
        return Lake(request.getfixturevalue("bucket"))
    urls = {
        "disk": str(tmp_path),
        "file url": f"file://{tmp_path}/",
        "object store": f"memory://{uuid.uuid4().hex}/lake",
    }
    return Lake(urls[request.param])


def test_create_then_read_returns_content(lake):
    lake.create("a/b.json", b"one")

    assert lake.read("a/b.json") == b"one"


def test_create_over_existing_file_is_refused(lake):
    lake.create("a/b.json", b"one")

    with pytest.raises(FileExistsError):
        lake.create("a/b.json", b"two")

    assert lake.read("a/b.json") == b"one"


def test_replace_writes_new_and_existing_files(lake):
    lake.replace("a/b.json", b"one")
    lake.replace("a/b.json", b"two")

    assert lake.read("a/b.json") == b"two"


def test_digest_returns_size_and_checksum(lake):
    data = b"x" * 3_000_000
    lake.create("big", data)

    assert lake.digest("big") == (3_000_000, hashlib.sha256(data).hexdigest())


def test_read_range_returns_bytes_up_to_the_end(lake):
    lake.create("a/b", b"0123456789")

    assert lake.read_range("a/b", 2, 5) == b"234"
    assert lake.read_range("a/b", 8, 20) == b"89"


def test_sizes_lists_files_without_subfolders(lake):
    lake.create("a/b", b"12")
    lake.create("a/c", b"")
    lake.create("a/d/e", b"123")

    assert lake.sizes("a") == {"b": 2, "c": 0}
    assert lake.sizes("none") == {}


def test_blocks_of_large_file_are_complete(lake):
    data = os.urandom(9 * 2**20)
    lake.create("big", data)

    blocks = list(lake.blocks("big"))

    assert len(blocks) > 1
    assert b"".join(blocks) == data


def test_sizes_after_another_write_are_current(lake):
    lake.create("a/b.json", b"one")
    assert lake.sizes("a") == {"b.json": 3}
    lake.create("a/c.json", b"two")

    assert lake.sizes("a") == {"b.json": 3, "c.json": 3}
    assert lake.digest("a/c.json")[0] == 3


def test_replace_if_unchanged_writes(lake):
    lake.replace_if("a/b.json", b"one", None)
    data, tag = lake.read_tagged("a/b.json")
    lake.replace_if("a/b.json", b"two", tag)

    assert data == b"one"
    assert lake.read("a/b.json") == b"two"


def test_replace_if_changed_is_refused(lake):
    lake.create("a/b.json", b"one")
    _, tag = lake.read_tagged("a/b.json")
    lake.replace("a/b.json", b"theirs")

    with pytest.raises(ConcurrentWriteError):
        lake.replace_if("a/b.json", b"ours", tag)
    with pytest.raises(ConcurrentWriteError):
        lake.replace_if("a/b.json", b"ours", None)

    assert lake.read("a/b.json") == b"theirs"


def test_replace_if_missing_is_refused(lake):
    with pytest.raises(ConcurrentWriteError):
        lake.replace_if("none.json", b"ours", hashlib.sha256(b"one").hexdigest())


@pytest.mark.parametrize("first", [True, False], ids=["none yet", "one there"])
def test_replace_if_by_concurrent_writers_lets_one_win(lake, first):
    writers = 3
    for attempt in range(3):
        path = f"{attempt}.json"
        tag = None
        if not first:
            lake.create(path, b"before")
            tag = lake.read_tagged(path)[1]
        ready = threading.Barrier(writers)

        def write(number, path=path, tag=tag, ready=ready):
            ready.wait()
            try:
                lake.replace_if(path, b"writer %d" % number, tag)
            except ConcurrentWriteError:
                return False
            return True

        with ThreadPoolExecutor(writers) as threads:
            won = list(threads.map(write, range(writers)))

        assert won.count(True) == 1
        assert lake.read(path) == b"writer %d" % won.index(True)


def test_replace_if_sent_twice_succeeds(lake, monkeypatch):
    lake.create("a.json", b"one")
    _, tag = lake.read_tagged("a.json")
    put = type(lake.filesystem).pipe_file

    def put_twice(self, *args, **options):
        put(self, *args, **options)
        return put(self, *args, **options)

    monkeypatch.setattr(type(lake.filesystem), "pipe_file", put_twice)

    lake.replace_if("a.json", b"two", tag)

    assert lake.read("a.json") == b"two"


def test_create_that_fails_leaves_no_file(tmp_path, monkeypatch):
    def full(_):
        raise OSError("no space left")

    monkeypatch.setattr(local.os, "fsync", full)

    with pytest.raises(OSError, match="no space"):
        Lake(str(tmp_path)).create("a/b.json", b"one")

    assert list((tmp_path / "a").iterdir()) == []


def test_create_without_hard_links_is_atomic(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(local.os, "link", refuse)
    lake = Lake(str(tmp_path))
    lake.create("b.json", b"one")

    with pytest.raises(FileExistsError):
        lake.create("b.json", b"two")

    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]
    assert lake.read("b.json") == b"one"


@pytest.mark.parametrize("read", [Lake.read, Lake.digest, Lake.read_tagged])
def test_read_of_missing_file_raises(lake, read):
    with pytest.raises(FileNotFoundError):
        read(lake, "none")


def test_replace_leaves_one_readable_file(tmp_path):
    Lake(str(tmp_path)).replace("current.json", b"{}")

    (only,) = tmp_path.iterdir()
    assert only.name == "current.json"
    assert only.stat().st_mode & 0o444 == 0o444


@pytest.mark.parametrize("url", ["nowhere://bucket", "http+unknown://x"])
def test_lake_of_unknown_protocol_is_refused(url):
    with pytest.raises(OSError, match="cannot open"):
        Lake(url)


def test_read_of_unreachable_store_names_endpoint(monkeypatch, short_waits):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")

    with pytest.raises(OSError, match=r"127\.0\.0\.1:9"):
        Lake("s3://bucket/lake").read("releases/current.json")
