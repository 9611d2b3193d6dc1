"""The least that the pipelines and the server may, tried on a real server: see docs/operations.md."""

import os
from datetime import timedelta

import fsspec
import pytest
from support import seaweed as seaweedfs
from support.builders.small_lake import TABLE, SmallLake, version

from fb_marketplace.lifecycle import prune, retention
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.checkpoint_dir import CheckpointDir
from fb_marketplace.storage.filesystem import open_root
from fb_marketplace.storage.photo_source import PhotoSource
from fb_marketplace.storage.run_records import RunRecords
from fb_marketplace_serving.release.artifacts import read_verified, release_artifacts
from fb_marketplace_serving.release.history import list_releases
from fb_marketplace_serving.release.pointer import (
    current_version,
    read_current,
    read_pointer,
    set_current,
)
from fb_marketplace_serving.storage.erasure_list import add_to_erasure_list
from fb_marketplace_serving.storage.lake import Lake

RAW, LAKE = f"s3://{seaweedfs.RAW_BUCKET}/raw", f"s3://{seaweedfs.LAKE_BUCKET}/lake"


@pytest.fixture(scope="module")
def store(tmp_path_factory, seaweed):
    """Two buckets, filled: a photo in one, two runs and their releases in the other."""
    folder = tmp_path_factory.mktemp("lake")
    lake = SmallLake(folder)
    for day in (1, 2):
        lake.whole_run(day, "abc"[: day + 1])
    photo = tmp_path_factory.mktemp("raw")
    (photo / "a.jpg").write_bytes(b"photo")
    for bucket in (seaweedfs.RAW_BUCKET, seaweedfs.LAKE_BUCKET):
        seaweed.make_bucket(bucket)
    seaweed.upload(photo, f"{RAW}/images")
    seaweed.upload(folder, LAKE)
    return seaweed


@pytest.fixture
def acts_as(store, monkeypatch, short_waits):
    """Makes this process one that has the credentials of the pipelines, or of the server."""

    def acts_as(name):
        for variable in [item for item in os.environ if item.startswith("AWS_")]:
            monkeypatch.delenv(variable)
        for variable, value in store.identity(name).items():
            monkeypatch.setenv(variable, value)
        fsspec.filesystem("s3").clear_instance_cache()

    yield acts_as
    fsspec.filesystem("s3").clear_instance_cache()


def test_server_policy_allows_serving(acts_as):
    acts_as(seaweedfs.SERVER)

    manifest, store = read_current(Lake(LAKE)), Lake(LAKE)
    for artifact in release_artifacts(store, manifest):
        read_verified(store, artifact)

    assert current_version(Lake(LAKE)) == version(2)
    assert [item.version for item in list_releases(Lake(LAKE))] == [version(2), version(1)]
    with pytest.raises(FileNotFoundError):
        store.read("releases/none.json")


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda: Lake(LAKE).replace("releases/other.json", b"{}"),
        lambda: set_current(Lake(LAKE), version(1), read_pointer(Lake(LAKE))),
        lambda: Lake(RAW).read("images/a.jpg"),
        lambda: open_root(LAKE)[0].rm_file(f"{LAKE}/releases/current.json"),
    ],
    ids=["write", "rollback", "read the bucket", "delete"],
)
def test_server_policy_denies_everything_else(acts_as, forbidden):
    acts_as(seaweedfs.SERVER)

    with pytest.raises(OSError, match=r"(?i)denied|forbidden"):
        forbidden()

    assert current_version(Lake(LAKE)) == version(2)


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda: Lake(RAW).replace("images/b.jpg", b"photo"),
        lambda: open_root(RAW)[0].rm_file(f"{RAW}/images/a.jpg"),
    ],
    ids=["write", "delete"],
)
def test_pipelines_policy_denies_bucket_changes(acts_as, forbidden):
    acts_as(seaweedfs.PIPELINES)

    with pytest.raises(OSError, match=r"(?i)denied|forbidden"):
        forbidden()

    photos = PhotoSource(f"{RAW}/images")
    assert photos.fetch(photos.files()) == [b"photo"]


def test_pipelines_policy_allows_runs_and_pruning(acts_as):
    """The last of these tests: it changes the lake."""
    acts_as(seaweedfs.PIPELINES)
    work = CheckpointDir(f"{LAKE}/work").under("fingerprint9")
    filesystem, root = open_root(LAKE)

    assert [file.key for file in PhotoSource(f"{RAW}/images").files()] == ["a.jpg"]
    work.write("state", b"epoch")
    work.remove("state")
    add_to_erasure_list(Lake(LAKE), ["p"], [])
    assert keyed_table.open_table(f"{LAKE}/{TABLE}", version(2)).read(["key"]).num_rows == 3
    table_writer.retain(f"{LAKE}/{TABLE}", frozenset("ab"))
    set_current(Lake(LAKE), version(2), read_pointer(Lake(LAKE)))
    with filesystem.open(f"{root}/07_model_output/large", "wb", block_size=5 * 2**20) as file:
        file.write(b"x" * (6 * 2**20))
    prune.prune(retention.plan_pruning(Lake(LAKE), 1, timedelta(0)))

    assert [item.version for item in RunRecords(Lake(LAKE)).newest_first()] == [version(2)]
    assert not filesystem.exists(f"{root}/releases/{version(1)}.json")
