"""What the pipelines read and write, where three requests in ten fail."""

import pandas as pd
import pyarrow as pa
import pytest
from kedro.io import DatasetError, Version
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset, ParquetDataset
from support import fault_proxy
from support import seaweed as seaweedfs

from fb_marketplace.datasets.path import PathDataset
from fb_marketplace.datasets.streaming_file import StreamingFileDataset
from fb_marketplace.storage import filesystem as storage
from fb_marketplace.storage import keyed_table, retries
from fb_marketplace.storage.checkpoint_dir import CheckpointDir
from fb_marketplace.storage.fingerprints import sha256
from fb_marketplace.storage.photo_source import FetchFailure, PhotoFile, PhotoSource
from fb_marketplace_serving.storage import s3
from fb_marketplace_serving.storage.s3 import S3

pytestmark = pytest.mark.slow

SCHEMA = pa.schema([pa.field("key", pa.string(), nullable=False), pa.field("data", pa.binary())])
PASSING = {name: 1.0 for name in fault_proxy.MIX if name not in {"slow", "hung"}}
VERSION = Version(None, "2026-01-02T03.04.05.006Z")


@pytest.fixture(scope="module")
def server():
    with seaweedfs.running() as server:
        yield server


@pytest.fixture(scope="module")
def proxy(server):
    with fault_proxy.running(server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def bucket(server, proxy, monkeypatch, request):
    """The URL of an empty bucket behind the proxy; nobody waits long between tries."""
    for name, value in (server.environment | {"AWS_ENDPOINT_URL_S3": proxy.endpoint}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(s3, "LONGEST_WAIT", 0.02)
    monkeypatch.setattr(retries, "LONGEST_WAIT", 0.02)
    storage.configure()
    S3.clear_instance_cache()
    yield server.make_bucket(f"of-{sha256(request.node.name.encode())[:20]}")
    proxy.faults.begin(0)
    S3.clear_instance_cache()


def rows(*keys):
    return pa.Table.from_pylist(
        [{"key": key, "data": key.encode() * 3000} for key in keys], schema=SCHEMA
    )


def held(url):
    """All rows of a table, by key; none is there twice."""
    found = keyed_table.open_table(url).read(["key", "data"]).to_pylist()
    by_key = {row["key"]: row["data"] for row in found}
    assert len(by_key) == len(found), "a row is there twice"
    return by_key


def test_photos_are_listed_and_fetched_whole(bucket, proxy):
    folder = PhotoSource(f"{bucket}/images")
    filesystem, root = storage.open_root(folder.url)
    photos = {f"{number:02}.jpg": bytes([number]) * 3000 for number in range(60)}
    filesystem.pipe({f"{root}/{name}": data for name, data in photos.items()})
    proxy.faults.begin(0.3, PASSING, seed=1)

    files = folder.files()
    fetched = folder.fetch(files)

    assert {file.key: file.size for file in files} == dict.fromkeys(photos, 3000)
    assert dict(zip([file.key for file in files], fetched, strict=True)) == photos
    assert proxy.faults.injected.total() > 10


def test_a_photo_that_is_replaced_after_it_was_listed_is_not_taken_for_what_was_listed(bucket):
    folder = PhotoSource(f"{bucket}/replaced")
    filesystem, root = storage.open_root(folder.url)
    filesystem.pipe({f"{root}/{name}": b"before" for name in ("a.jpg", "b.jpg", "c.jpg")})
    files = folder.files()
    filesystem.pipe_file(f"{root}/b.jpg", b"after!")
    filesystem.rm_file(f"{root}/c.jpg")

    assert folder.fetch(files) == [b"before", FetchFailure.REPLACED, FetchFailure.GONE]
    assert folder.fetch(folder.files()) == [b"before", b"after!"]


def test_a_photo_whose_etag_is_another_in_the_listing_is_taken_where_the_listing_stays(bucket):
    """There are stores whose listings have ETags of their own."""
    folder = PhotoSource(f"{bucket}/of its own")
    filesystem, root = storage.open_root(folder.url)
    filesystem.pipe_file(f"{root}/a.jpg", b"photo")
    (file,) = folder.files()
    asked = filesystem._call_s3

    async def listing_otherwise(method, *told, **more):
        answer = await asked(method, *told, **more)
        for each in answer.get("Contents", ()) if method == "list_objects_v2" else ():
            each["ETag"] = '"of the listing"'
        return answer

    filesystem._call_s3 = listing_otherwise

    assert folder.fetch([file._replace(etag="of the listing")]) == [b"photo"]
    assert folder.fetch([file._replace(etag="of another")]) == [FetchFailure.REPLACED]


def test_a_photo_of_a_listing_without_etags_is_told_by_when_it_was_written(bucket):
    folder = PhotoSource(f"{bucket}/without")
    filesystem, root = storage.open_root(folder.url)
    filesystem.pipe_file(f"{root}/a.jpg", b"photo")
    asked = filesystem._call_s3

    async def listing_without(method, *told, **more):
        answer = await asked(method, *told, **more)
        for each in answer.get("Contents", ()) if method == "list_objects_v2" else ():
            del each["ETag"]
        return answer

    filesystem._call_s3 = listing_without
    (listed,) = filesystem.call_s3("list_objects_v2", Bucket=root.split("/")[0])["Contents"]
    file = PhotoFile("a.jpg", 5, str(listed["LastModified"]))

    assert folder.fetch([file]) == [b"photo"]
    assert folder.fetch([file._replace(etag="1970-01-01 00:00:00+00:00")]) == [
        FetchFailure.REPLACED
    ]


def test_a_photo_that_was_there_only_while_it_was_fetched_is_not_taken(bucket):
    folder = PhotoSource(f"{bucket}/there and back")
    filesystem, root = storage.open_root(folder.url)
    filesystem.pipe_file(f"{root}/a.jpg", b"photo")
    files = folder.files()
    asked = filesystem._call_s3

    async def another_for_a_while(method, *told, **more):
        answer = await asked(method, *told, **more)
        if method == "get_object":
            answer["ETag"] = '"of another"'
        return answer

    filesystem._call_s3 = another_for_a_while

    assert folder.fetch(files) == [FetchFailure.REPLACED]


def test_a_table_holds_each_row_once(bucket, proxy):
    url = f"{bucket}/of letters.lance"
    proxy.faults.begin(0.3, PASSING, seed=2)

    keyed_table.ensure_table(url, SCHEMA)
    for batch in (["a", "b"], ["b", "c"], ["d"]):
        keyed_table.insert(url, rows(*batch))
    version = keyed_table.retain(url, frozenset("abd"))
    keyed_table.tag(url, "kept", version)
    keyed_table.insert(url, rows("e"))

    assert held(url) == {key: key.encode() * 3000 for key in "abde"}
    assert len(keyed_table.open_table(url, "kept")) == 3
    assert proxy.faults.injected.total() > 10


@pytest.mark.parametrize("fault", ["lost", "late_error", "hung"])
def test_a_commit_whose_answer_never_came_is_made_once(bucket, proxy, fault, monkeypatch):
    monkeypatch.setitem(storage.LANCE_DEFAULTS, "read_timeout", "500ms")
    url = f"{bucket}/letters.lance"
    keyed_table.ensure_table(url, SCHEMA)
    keyed_table.insert(url, rows("a", "b"))
    proxy.faults.begin(
        1,
        {fault: 1},
        times=1,
        only=lambda method, target: method == "PUT" and "_versions" in target,
    )

    keyed_table.insert(url, rows("b", "c"))
    keyed_table.tag(url, "kept", keyed_table.retain(url, frozenset("ac")))
    keyed_table.insert(url, rows("d"))

    assert sorted(held(url)) == ["a", "c", "d"]
    assert len(keyed_table.open_table(url, "kept")) == 2
    assert proxy.faults.injected[fault] >= 3


def test_a_table_whose_store_fails_for_good_is_given_up_in_one_line(bucket, proxy, monkeypatch):
    monkeypatch.setitem(storage.LANCE_DEFAULTS, "client_max_retries", "1")
    monkeypatch.setattr(retries, "TRIES", 2)
    url = f"{bucket}/letters.lance"
    keyed_table.ensure_table(url, SCHEMA)
    proxy.faults.begin(1, {"slow_down": 1})

    with pytest.raises(ConnectionError, match="found no answer in 2 tries") as said:
        keyed_table.insert(url, rows("a"))

    assert "\n" not in str(said.value)


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
def test_a_dataset_whose_store_fails_for_good_says_so_as_a_user_meets_it(bucket, proxy, ask):
    proxy.faults.begin(1, PASSING)

    with pytest.raises(DatasetError, match="found no answer") as said:
        ask(bucket)

    assert isinstance(said.value.__cause__, ConnectionError)


def test_a_table_that_is_not_there_is_missing(bucket, proxy):
    proxy.faults.begin(0.3, PASSING, seed=3)

    assert keyed_table.existing_keys(f"{bucket}/none.lance") == frozenset()


@pytest.mark.parametrize("kind", [CSVDataset, ParquetDataset])
def test_a_versioned_table_is_read_as_it_was_saved(bucket, proxy, kind):
    told = {"filepath": f"{bucket}/tables/some", "version": VERSION}
    index = {"save_args": {"index": False}} if kind is CSVDataset else {}
    table = pd.DataFrame(
        {"id": [f"x{number}" * 20 for number in range(3000)], "price": range(3000)}
    )
    proxy.faults.begin(1, PASSING, seed=4, times=1)

    kind(**told, **index).save(table)
    found = kind(**told | {"version": Version(VERSION.save, None)}).load()

    pd.testing.assert_frame_equal(found.astype("str"), table.astype("str"))
    assert proxy.faults.injected


def test_json_is_read_as_it_was_saved_and_is_there(bucket, proxy):
    proxy.faults.begin(1, PASSING, seed=5, times=1)
    dataset = JSONDataset(filepath=f"{bucket}/report.json")

    assert not dataset.exists()
    dataset.save({"photos": list(range(5000))})

    assert dataset.exists()
    assert dataset.load() == {"photos": list(range(5000))}
    assert proxy.faults.injected.total() >= 4


@pytest.mark.parametrize("fault", ["lost", "late_error", "slow_down"])
def test_a_file_of_many_pieces_appears_whole(bucket, proxy, fault):
    dataset = StreamingFileDataset(f"{bucket}/vectors.json")
    proxy.faults.begin(1, {fault: 1}, times=1)

    dataset.save(lambda: iter([b"one", b"two"]))

    assert dataset.load().read() == b"onetwo"
    assert proxy.faults.injected[fault] >= 4


def test_of_a_file_whose_pieces_end_early_nothing_is_left(bucket, proxy):
    def broken():
        yield b"{"
        raise ValueError("the table is gone")

    dataset = StreamingFileDataset(f"{bucket}/vectors.json")
    proxy.faults.begin(1, {"slow_down": 1}, times=1)

    with pytest.raises(DatasetError, match="the table is gone"):
        dataset.save(broken)

    filesystem, root = storage.open_root(bucket)
    assert filesystem.find(root) == []
    assert filesystem.list_multipart_uploads(root) == []


def test_unfinished_work_is_written_listed_read_and_removed(bucket, proxy):
    work = CheckpointDir(f"{bucket}/work").under("training")
    proxy.faults.begin(0.3, PASSING, seed=6)

    for number in range(6):
        work.write(f"epoch-{number}", bytes([number]) * 2000)
    work.remove("epoch-0")
    work.remove("none")

    assert work.names() == [f"epoch-{number}" for number in range(1, 6)]
    assert all(work.read(name) == bytes([int(name[-1])]) * 2000 for name in work.names())
    assert proxy.faults.injected
