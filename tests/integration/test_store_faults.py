"""Datasets, tables and photos in a store that fails 30 % of the requests."""

import string
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pytest
from kedro.io import DatasetError, Version
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset, ParquetDataset
from support import fault_proxy

from fb_marketplace.datasets.path import PathDataset
from fb_marketplace.datasets.streaming_file import StreamingFileDataset
from fb_marketplace.storage import filesystem as filesystems
from fb_marketplace.storage import keyed_table, retries, table_writer
from fb_marketplace.storage.checkpoint_dir import CheckpointDir
from fb_marketplace.storage.fingerprints import sha256
from fb_marketplace.storage.photo_source import FetchFailure, PhotoFile, PhotoSource
from fb_marketplace_serving.storage import s3
from fb_marketplace_serving.storage.lake import register_s3
from fb_marketplace_serving.storage.lance_options import LANCE_DEFAULTS
from fb_marketplace_serving.storage.s3 import RetryingS3FileSystem

pytestmark = pytest.mark.slow

SCHEMA = pa.schema([pa.field("key", pa.string(), nullable=False), pa.field("data", pa.binary())])
TRANSIENT = {name: 1.0 for name in fault_proxy.MIX if name not in {"slow", "hung"}}
VERSION = Version(None, "2026-01-02T03.04.05.006Z")


@pytest.fixture(scope="module")
def proxy(seaweed):
    with fault_proxy.running(seaweed.endpoint) as proxy:
        yield proxy


@pytest.fixture
def bucket(seaweed, proxy, monkeypatch, request):
    """The URL of an empty bucket behind the proxy; waits between attempts are short."""
    for name, value in (seaweed.environment | {"AWS_ENDPOINT_URL_S3": proxy.endpoint}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(s3, "S3_POLICY", replace(s3.S3_POLICY, max_wait_s=0.02))
    monkeypatch.setattr(retries, "LANCE_POLICY", replace(retries.LANCE_POLICY, max_wait_s=0.02))
    register_s3()
    RetryingS3FileSystem.clear_instance_cache()
    yield seaweed.make_bucket(f"of-{sha256(request.node.name.encode())[:20]}")
    proxy.faults.begin(0)
    RetryingS3FileSystem.clear_instance_cache()


def rows(*keys):
    return pa.Table.from_pylist(
        [{"key": key, "data": key.encode() * 3000} for key in keys], schema=SCHEMA
    )


def rows_by_key(url):
    """Return the rows of a table by key, without duplicates."""
    table_rows = keyed_table.open_table(url).read(["key", "data"]).to_pylist()
    by_key = {row["key"]: row["data"] for row in table_rows}
    assert len(by_key) == len(table_rows), "a row is there twice"
    return by_key


def test_photos_at_30_percent_faults_are_complete(bucket, proxy):
    folder = PhotoSource(f"{bucket}/images")
    filesystem, root = filesystems.open_root(folder.url)
    photos = {f"{number:02}.jpg": bytes([number]) * 3000 for number in range(60)}
    filesystem.pipe({f"{root}/{name}": data for name, data in photos.items()})
    proxy.faults.begin(0.3, TRANSIENT, seed=1)

    files = folder.files()
    fetched = folder.fetch(files)

    assert {file.key: file.size for file in files} == dict.fromkeys(photos, 3000)
    assert dict(zip([file.key for file in files], fetched, strict=True)) == photos
    assert proxy.faults.injected.total() > 10


def test_photo_replaced_or_deleted_since_listing_is_missed(bucket):
    folder = PhotoSource(f"{bucket}/replaced")
    filesystem, root = filesystems.open_root(folder.url)
    filesystem.pipe({f"{root}/{name}": b"before" for name in ("a.jpg", "b.jpg", "c.jpg")})
    files = folder.files()
    filesystem.pipe_file(f"{root}/b.jpg", b"after!")
    filesystem.rm_file(f"{root}/c.jpg")

    assert folder.fetch(files) == [b"before", FetchFailure.REPLACED, FetchFailure.GONE]
    assert folder.fetch(folder.files()) == [b"before", b"after!"]


def test_photo_with_other_etag_in_listing_is_fetched(bucket):
    """The listings of some stores have ETags of their own."""
    folder = PhotoSource(f"{bucket}/of its own")
    filesystem, root = filesystems.open_root(folder.url)
    filesystem.pipe_file(f"{root}/a.jpg", b"photo")
    (file,) = folder.files()
    call_s3 = filesystem._call_s3

    async def with_other_etags(method, *args, **kwargs):
        response = await call_s3(method, *args, **kwargs)
        for entry in response.get("Contents", ()) if method == "list_objects_v2" else ():
            entry["ETag"] = '"of the listing"'
        return response

    filesystem._call_s3 = with_other_etags

    assert folder.fetch([file._replace(etag="of the listing")]) == [b"photo"]
    assert folder.fetch([file._replace(etag="of another")]) == [FetchFailure.REPLACED]


def test_photo_without_etag_in_listing_uses_modified_time(bucket):
    folder = PhotoSource(f"{bucket}/without")
    filesystem, root = filesystems.open_root(folder.url)
    filesystem.pipe_file(f"{root}/a.jpg", b"photo")
    call_s3 = filesystem._call_s3

    async def without_etags(method, *args, **kwargs):
        response = await call_s3(method, *args, **kwargs)
        for entry in response.get("Contents", ()) if method == "list_objects_v2" else ():
            del entry["ETag"]
        return response

    filesystem._call_s3 = without_etags
    (listed,) = filesystem.call_s3("list_objects_v2", Bucket=root.split("/")[0])["Contents"]
    file = PhotoFile("a.jpg", 5, str(listed["LastModified"]))

    assert folder.fetch([file]) == [b"photo"]
    assert folder.fetch([file._replace(etag="1970-01-01 00:00:00+00:00")]) == [
        FetchFailure.REPLACED
    ]


def test_photo_replaced_while_fetched_is_missed(bucket):
    folder = PhotoSource(f"{bucket}/there and back")
    filesystem, root = filesystems.open_root(folder.url)
    filesystem.pipe_file(f"{root}/a.jpg", b"photo")
    files = folder.files()
    call_s3 = filesystem._call_s3

    async def with_replaced_file(method, *args, **kwargs):
        response = await call_s3(method, *args, **kwargs)
        if method == "get_object":
            response["ETag"] = '"of another"'
        return response

    filesystem._call_s3 = with_replaced_file

    assert folder.fetch(files) == [FetchFailure.REPLACED]


def test_table_at_30_percent_faults_has_each_row_once(bucket, proxy):
    url = f"{bucket}/of letters.lance"
    proxy.faults.begin(0.3, TRANSIENT, seed=2)

    keyed_table.ensure_table(url, SCHEMA)
    for batch in (["a", "b"], ["b", "c"], ["d"]):
        table_writer.insert(url, rows(*batch))
    version = table_writer.retain(url, frozenset("abd"))
    keyed_table.tag(url, "kept", version)
    table_writer.insert(url, rows("e"))

    assert rows_by_key(url) == {key: key.encode() * 3000 for key in "abde"}
    assert len(keyed_table.open_table(url, "kept")) == 3
    assert proxy.faults.injected.total() > 10


def test_table_compacted_at_30_percent_faults_has_each_row_once(bucket, proxy):
    url, letters = f"{bucket}/letters.lance", string.ascii_lowercase
    keyed_table.ensure_table(url, SCHEMA)
    proxy.faults.begin(0.3, TRANSIENT, seed=4)
    writer = table_writer.TableWriter(url)
    for letter in letters:
        version = writer.insert(rows(letter))

    compacted = writer.compact(version)

    # If the response to its commit was lost, the version before it counts.
    assert compacted >= version
    assert rows_by_key(url) == {key: key.encode() * 3000 for key in letters}
    for number in (version, compacted):
        stored = keyed_table.open_table(url, number).read(["key"]).column("key")
        assert stored.to_pylist() == list(letters)
    assert proxy.faults.injected.total() > 10


@pytest.mark.parametrize("fault", ["lost", "late_error", "hung"])
def test_table_commit_with_lost_response_happens_once(bucket, proxy, fault, monkeypatch):
    monkeypatch.setitem(LANCE_DEFAULTS, "read_timeout", "500ms")
    url = f"{bucket}/letters.lance"
    keyed_table.ensure_table(url, SCHEMA)
    table_writer.insert(url, rows("a", "b"))
    proxy.faults.begin(
        1,
        {fault: 1},
        times=1,
        only=lambda method, target: method == "PUT" and "_versions" in target,
    )

    table_writer.insert(url, rows("b", "c"))
    keyed_table.tag(url, "kept", table_writer.retain(url, frozenset("ac")))
    table_writer.insert(url, rows("d"))

    assert sorted(rows_by_key(url)) == ["a", "c", "d"]
    assert len(keyed_table.open_table(url, "kept")) == 2
    assert proxy.faults.injected[fault] >= 3


def test_table_if_store_always_fails_gives_up(bucket, proxy, monkeypatch):
    monkeypatch.setitem(LANCE_DEFAULTS, "client_max_retries", "1")
    monkeypatch.setattr(retries, "LANCE_POLICY", replace(retries.LANCE_POLICY, max_attempts=2))
    url = f"{bucket}/letters.lance"
    keyed_table.ensure_table(url, SCHEMA)
    proxy.faults.begin(1, {"slow_down": 1})

    with pytest.raises(ConnectionError, match="in 2 attempts") as caught:
        table_writer.insert(url, rows("a"))

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "ask",
    [
        lambda url: PathDataset(
            f"{url}/images", "fb_marketplace.storage.photo_source.PhotoSource"
        ).exists(),
        lambda url: CSVDataset(filepath=f"{url}/some.csv").load(),
        lambda url: JSONDataset(filepath=f"{url}/some.json").save([1]),
        lambda url: StreamingFileDataset(f"{url}/some.json").save(lambda: iter([b"1"])),
    ],
    ids=["photos exist", "a table is read", "a report is saved", "pieces are saved"],
)
def test_dataset_if_store_always_fails_raises_dataset_error(bucket, proxy, ask):
    proxy.faults.begin(1, TRANSIENT)

    with pytest.raises(DatasetError, match=r"failed in \d+ attempts") as caught:
        ask(bucket)

    assert isinstance(caught.value.__cause__, ConnectionError)


def test_table_that_is_missing_has_no_keys(bucket, proxy):
    proxy.faults.begin(0.3, TRANSIENT, seed=3)

    assert keyed_table.existing_keys(f"{bucket}/none.lance") == frozenset()


@pytest.mark.parametrize("kind", [CSVDataset, ParquetDataset])
def test_versioned_table_round_trips_despite_faults(bucket, proxy, kind):
    options = {"filepath": f"{bucket}/tables/some", "version": VERSION}
    index = {"save_args": {"index": False}} if kind is CSVDataset else {}
    table = pd.DataFrame(
        {"id": [f"x{number}" * 20 for number in range(3000)], "price": range(3000)}
    )
    proxy.faults.begin(1, TRANSIENT, seed=4, times=1)

    kind(**options, **index).save(table)
    loaded = kind(**options | {"version": Version(VERSION.save, None)}).load()

    pd.testing.assert_frame_equal(loaded.astype("str"), table.astype("str"))
    assert proxy.faults.injected


def test_json_round_trips_despite_faults(bucket, proxy):
    proxy.faults.begin(1, TRANSIENT, seed=5, times=1)
    dataset = JSONDataset(filepath=f"{bucket}/report.json")

    assert not dataset.exists()
    dataset.save({"photos": list(range(5000))})

    assert dataset.exists()
    assert dataset.load() == {"photos": list(range(5000))}
    assert proxy.faults.injected.total() >= 4


@pytest.mark.parametrize("fault", ["lost", "late_error", "slow_down"])
def test_streaming_file_despite_faults_is_complete(bucket, proxy, fault):
    dataset = StreamingFileDataset(f"{bucket}/vectors.json")
    proxy.faults.begin(1, {fault: 1}, times=1)

    dataset.save(lambda: iter([b"one", b"two"]))

    assert dataset.load().read() == b"onetwo"
    assert proxy.faults.injected[fault] >= 4


def test_streaming_file_that_fails_leaves_nothing(bucket, proxy):
    def broken():
        yield b"{"
        raise ValueError("the table is gone")

    dataset = StreamingFileDataset(f"{bucket}/vectors.json")
    proxy.faults.begin(1, {"slow_down": 1}, times=1)

    with pytest.raises(DatasetError, match="the table is gone"):
        dataset.save(broken)

    filesystem, root = filesystems.open_root(bucket)
    assert filesystem.find(root) == []
    assert filesystem.list_multipart_uploads(root) == []


def test_checkpoint_dir_at_30_percent_faults_works(bucket, proxy):
    work = CheckpointDir(f"{bucket}/work").under("training")
    proxy.faults.begin(0.3, TRANSIENT, seed=6)

    for number in range(6):
        work.write(f"epoch-{number}", bytes([number]) * 2000)
    work.remove("epoch-0")
    work.remove("none")

    assert work.names() == [f"epoch-{number}" for number in range(1, 6)]
    assert all(work.read(name) == bytes([int(name[-1])]) * 2000 for name in work.names())
    assert proxy.faults.injected
