"""Preflight checks on folders and on a real store."""

import contextlib
import http.server
import os
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from fb_marketplace.diagnostics import doctor, system
from fb_marketplace.diagnostics.doctor import RunRequirements, run_checks
from fb_marketplace.diagnostics.table_probe import RawTable
from fb_marketplace.storage.filesystem import open_root
from fb_marketplace_serving.storage.s3 import RetryingS3FileSystem

PRODUCTS = "id,product_name\n1,A chair\n2,A table\n"
EXPIRED = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"""


@pytest.fixture(autouse=True)
def no_store(monkeypatch, short_waits):
    """No store is known, and no client of an earlier test."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    become(monkeypatch, {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull})
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    yield
    RetryingS3FileSystem.clear_instance_cache()


@pytest.fixture(params=["folder", "bucket"])
def roots(request, tmp_path, monkeypatch):
    """A raw root with a table and photos, and a lake with something in it: in folders, or in buckets."""
    (tmp_path / "raw/Assets").mkdir(parents=True)
    (tmp_path / "raw/Assets/Products.csv").write_text(PRODUCTS)
    (tmp_path / "raw/images").mkdir()
    (tmp_path / "raw/images/1.jpg").write_bytes(b"photo")
    (tmp_path / "lake/runs").mkdir(parents=True)
    (tmp_path / "lake/runs/v1.json").write_text('{"layout": 2}')
    if request.param == "folder":
        return str(tmp_path / "raw"), str(tmp_path / "lake")
    seaweed = request.getfixturevalue("seaweed")
    become(monkeypatch, seaweed.environment)
    url = f"{request.getfixturevalue('common_bucket')}/{uuid.uuid4().hex}"
    seaweed.upload(tmp_path, url)
    return f"{url}/raw", f"{url}/lake"


def become(monkeypatch, environment):
    RetryingS3FileSystem.clear_instance_cache()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def needs(raw, lake, columns=("id", "product_name")):
    table = RawTable("raw_products", f"{raw}/Assets/Products.csv", "csv", {}, columns)
    return RunRequirements(raw, (table,), f"{raw}/images", lake)


def fails(*query, **values):
    return {
        item.subject: item.message for item in run_checks(*query, **values) if item.state == "fails"
    }


def everything(root):
    """Every object, or every file and folder, with its size."""
    filesystem, path = open_root(root)
    # SeaweedFS keeps the folders of objects that are gone.
    result = filesystem.find(path, withdirs="://" not in root, detail=True)
    return {name: info["size"] for name, info in result.items()}


def test_all_checks_pass_and_leave_nothing(roots):
    before = everything(roots[1])

    result = list(run_checks(needs(*roots), count_remote_photos=True))

    assert {item.state for item in result} == {"ok"}, [str(item) for item in result]
    assert {"raw root", "table raw_products", "photos", "lake", "memory", "packages"} <= {
        item.subject for item in result
    }
    assert everything(roots[1]) == before


def test_each_problem_is_one_line(roots):
    expected = replace(needs(*roots, ("id", "title")), photos=f"{roots[0]}/pictures")

    result = fails(expected)

    assert result.keys() == {"table raw_products", "photos"}
    assert "title" in result["table raw_products"]
    assert "pictures" in result["photos"]
    assert "Assets, images" in result["photos"]
    assert "FB_RAW" in result["photos"]
    assert not any("\n" in values for values in result.values())


def test_table_that_is_a_folder_is_rejected(roots):
    raw, lake = roots
    table = RawTable("raw_products", f"{raw}/Assets", "parquet", {}, ("id",))

    result = fails(RunRequirements(raw, (table,), f"{raw}/images", lake))

    assert "is a folder" in result["table raw_products"]


def test_checks_below_missing_root_are_skipped(roots):
    raw, lake = roots

    result = {item.subject: item for item in run_checks(needs(f"{raw}/elsewhere", lake))}

    assert result["raw root"].state == "fails"
    assert f"{raw}/elsewhere" in result["raw root"].message
    assert result["table raw_products"].state == result["photos"].state == "skipped"
    assert result["lake"].state == "ok"


def test_empty_root_is_reported_once(tmp_path):
    (tmp_path / ".gitkeep").touch()

    result = fails(needs(str(tmp_path), str(tmp_path)))

    assert result.keys() == {"raw root"}
    assert str(tmp_path) in result["raw root"]


def test_missing_lake_passes_and_is_not_created(roots):
    raw, lake = roots

    before = everything(lake)

    assert fails(needs(raw, f"{lake}/new/one")) == {}
    assert everything(lake) == before


@pytest.mark.parametrize("roots", ["bucket"], indirect=True)
def test_read_only_bucket_is_reported(roots, seaweed, monkeypatch):
    before = everything(roots[1])
    become(monkeypatch, seaweed.reader)

    result = fails(needs(*roots))

    assert "lack a permission" in result["lake"]
    become(monkeypatch, seaweed.environment)
    assert everything(roots[1]) == before


@pytest.mark.parametrize("roots", ["bucket"], indirect=True)
@pytest.mark.parametrize(
    "wrong", [{"AWS_SECRET_ACCESS_KEY": "not-it"}, {"AWS_ACCESS_KEY_ID": "nobody"}]
)
def test_wrong_key_is_reported(roots, seaweed, monkeypatch, wrong):
    become(monkeypatch, seaweed.environment | wrong)

    result = fails(needs(*roots))

    assert result.keys() == {"raw root", "lake"}
    assert all("key" in values for values in result.values())
    assert not any("not-it" in values for values in result.values())


def test_missing_bucket_is_reported(seaweed, monkeypatch):
    become(monkeypatch, seaweed.environment)

    result = fails(needs("s3://not-there/raw", "s3://not-there-either/lake"))

    assert result.keys() == {"raw root", "lake"}
    assert all("the bucket does not exist" in values for values in result.values())
    assert not open_root("s3://")[0].exists("not-there-either")


def test_expired_token_is_reported(monkeypatch):
    """S3 answers 400 with this code; SeaweedFS does not look at session tokens."""
    with _refusing(EXPIRED) as endpoint:
        values = {
            "AWS_ACCESS_KEY_ID": "k",
            "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_SESSION_TOKEN": "old",
        }
        become(monkeypatch, values | {"AWS_ENDPOINT_URL_S3": endpoint, "AWS_REGION": "us-east-1"})

        result = fails(needs("s3://bucket/raw", "s3://bucket/lake"))

    assert result.keys() == {"raw root", "lake"}
    assert all("expired" in values for values in result.values())


def test_unreachable_store_is_reported(monkeypatch):
    values = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    become(monkeypatch, values | {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"})

    result = fails(needs("s3://bucket/raw", "s3://bucket/lake"))

    assert result.keys() == {"raw root"}, "what gives no answer is not asked twice"
    assert "s3://bucket/raw" in result["raw root"]


def test_missing_credentials_are_reported(monkeypatch):
    become(monkeypatch, {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"})

    result = fails(needs("s3://bucket/raw", "s3://bucket/lake"))

    assert all("no credentials" in values for values in result.values())


def test_key_in_url_is_rejected_and_not_repeated():
    result = fails(needs("s3://mykey:mysecret@bucket/raw", "s3://mykey:mysecret@bucket/lake"))

    assert result.keys() == {"raw root", "lake"}
    assert all("AWS_SECRET_ACCESS_KEY" in values for values in result.values())
    assert not any("mysecret" in values or "mykey" in values for values in result.values())


def test_store_without_conditional_writes_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.Lake, "create", doctor.Lake.replace)

    assert "If-None-Match" in fails(RunRequirements(lake=str(tmp_path)))["lake"]
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder_is_reported():
    assert "FB_LAKE" in fails(RunRequirements(lake="/proc/lake"))["lake"]


def test_low_disk_space_is_reported(roots, monkeypatch):
    raw, _ = roots
    monkeypatch.setattr(system, "free_disk", lambda path: 1_000_000)

    assert "GB" in fails(needs(raw, "/tmp/lake-not-there"))["disk"]


def test_photos_in_lake_need_no_disk_space(tmp_path):
    (tmp_path / "raw/images").mkdir(parents=True)
    for number in range(10):
        (tmp_path / f"raw/images/{number}.jpg").touch()
    lake, query = tmp_path / "lake", RunRequirements(photos=str(tmp_path / "raw/images"))
    before = doctor.bytes_needed(query, lake, count_remote_photos=False)
    existing = lake / doctor.PHOTOS_TABLE / "data"
    existing.mkdir(parents=True)
    (existing / "1.lance").write_bytes(bytes(10 * doctor.CANONICAL_PHOTO_BYTES))

    after = doctor.bytes_needed(query, lake, count_remote_photos=False)

    assert before - after == 10 * doctor.BYTES_PER_PHOTO


def test_low_memory_is_reported(monkeypatch):
    monkeypatch.setattr(system, "memory_limit", lambda: 1_000_000_000)

    assert "1.00 GB" in fails(RunRequirements(trains=True))["memory"]
    assert fails(RunRequirements()) == {}


def test_run_without_roots_checks_none():
    assert {item.subject for item in run_checks(RunRequirements())} == {"memory", "packages"}


@contextlib.contextmanager
def _refusing(answer: bytes) -> Iterator[str]:
    """A store that answers everything with this error."""

    class Refusal(http.server.BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(400)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer)

        do_GET = do_PUT = do_HEAD = answer  # noqa: N815 - so it is called

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{refusing.server_address[1]}"
        finally:
            refusing.shutdown()


def test_lake_of_older_layout_fails(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/v1.json").write_text('{"version": "v1"}')

    assert "fb-marketplace 0.1" in fails(RunRequirements(lake=str(tmp_path)))["lake"]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_market_without_photos_needs_no_folder_of_photos(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/Images.csv").write_text("id,product_id\n")
    url = f"{tmp_path}/raw/Images.csv"
    table = RawTable("raw_images", url, "csv", {}, ("id", "product_id"), may_be_empty=True)
    query = RunRequirements(f"{tmp_path}/raw", (table,), f"{tmp_path}/raw/images", None)

    assert not fails(query)
    (tmp_path / "raw/Images.csv").write_text("id,product_id\n1,2\n")
    assert fails(query).keys() == {"photos"}
