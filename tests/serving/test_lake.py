import hashlib
import uuid

import pytest

from fb_marketplace_serving.lake import Lake


@pytest.fixture(params=["disk", "file url", "object store"])
def lake(request, tmp_path):
    urls = {
        "disk": str(tmp_path),
        "file url": f"file://{tmp_path}/",
        "object store": f"memory://{uuid.uuid4().hex}/lake",
    }
    return Lake(urls[request.param])


def test_reads_what_was_created(lake):
    lake.create("a/b.json", b"one")

    assert lake.read("a/b.json") == b"one"


def test_never_creates_over_a_file(lake):
    lake.create("a/b.json", b"one")

    with pytest.raises(FileExistsError):
        lake.create("a/b.json", b"two")

    assert lake.read("a/b.json") == b"one"


def test_replaces_a_file_or_makes_it(lake):
    lake.replace("a/b.json", b"one")
    lake.replace("a/b.json", b"two")

    assert lake.read("a/b.json") == b"two"


def test_gives_size_and_digest(lake):
    data = b"x" * 3_000_000
    lake.create("big", data)

    assert lake.digest("big") == (3_000_000, hashlib.sha256(data).hexdigest())


def test_reads_a_range_of_a_file(lake):
    lake.create("a/b", b"0123456789")

    assert lake.read_range("a/b", 2, 5) == b"234"
    assert lake.read_range("a/b", 8, 20) == b"89"


def test_gives_the_sizes_of_the_files_in_a_folder(lake):
    lake.create("a/b", b"12")
    lake.create("a/c", b"")
    lake.create("a/d/e", b"123")

    assert lake.sizes("a") == {"b": 2, "c": 0}
    assert lake.sizes("none") == {}


@pytest.mark.parametrize("ask", [Lake.read, Lake.digest])
def test_says_that_a_file_is_not_there(lake, ask):
    with pytest.raises(FileNotFoundError):
        ask(lake, "none")


def test_replacing_leaves_nothing_else_and_others_may_read(tmp_path):
    Lake(str(tmp_path)).replace("current.json", b"{}")

    (only,) = tmp_path.iterdir()
    assert only.name == "current.json"
    assert only.stat().st_mode & 0o444 == 0o444


@pytest.mark.parametrize("url", ["nowhere://bucket", "http+unknown://x"])
def test_refuses_a_store_that_it_does_not_know(url):
    with pytest.raises(OSError, match="cannot open"):
        Lake(url)


def test_says_soon_that_an_object_store_cannot_be_reached(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")

    with pytest.raises(OSError, match=r"127\.0\.0\.1:9"):
        Lake("s3://bucket/lake").read("releases/current.json")
