import hashlib
import time
import uuid
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.manifest import ReleaseError
from fb_marketplace_serving.release.photo_store import FOLDER, PhotoStore, file_name
from fb_marketplace_serving.storage.lake import Lake


@pytest.fixture
def file(release):
    """The file that img-red is in, on disk."""
    return Path(release.photos._lake.url, release.photos.locations["img-red"].file)


def refused(opened, ask=PhotoStore.read, *what):
    with pytest.raises(ReleaseError) as caught:
        ask(opened, *what)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(file, pos):
    data = bytearray(file.read_bytes())
    data[pos] ^= 1
    file.write_bytes(data)


def table_of(lake):
    return pq.read_table(f"{lake}/model/photos.parquet")


def written(table):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def test_read_returns_each_stored_photo(release, canonical_photos):
    assert {name: release.photos.read(name) for name in canonical_photos} == canonical_photos


def test_unknown_photo_is_rejected(release):
    assert "img-none" not in release.photos
    with pytest.raises(KeyError):
        release.photos.read("img-none")


def test_read_from_object_store(lake, canonical_photos):
    url = f"memory://{uuid.uuid4().hex}"
    fsspec.filesystem("memory").put(f"{lake}/", f"{url}/", recursive=True)

    opened = Release.open(url).photos

    opened.verify()
    assert opened.read("img-grey") == canonical_photos["img-grey"]


def test_damaged_photo_is_rejected_and_others_are_read(release, file, canonical_photos):
    place = release.photos.locations["img-red"]
    changed(file, place.offset + place.size // 2)

    assert f"{file}: " in refused(release.photos, PhotoStore.read, "img-red")
    inside = {name for name, item in release.photos.locations.items() if item.file == place.file}
    for name in inside - {"img-red"}:
        assert release.photos.read(name) == canonical_photos[name]


def test_verify_detects_one_changed_byte(release, file):
    release.photos.verify()
    changed(file, file.stat().st_size - 3)

    assert f"{file}: " in refused(release.photos, PhotoStore.verify)


@pytest.mark.parametrize("ask", [(PhotoStore.read, "img-red"), (PhotoStore.verify,)])
def test_file_deleted_while_serving_is_named(release, file, ask):
    file.unlink()

    assert f"{file}: " in refused(release.photos, *ask)


@pytest.mark.parametrize("ask", [(PhotoStore.read, "img-yellow"), (PhotoStore.verify,)])
def test_file_truncated_while_serving_is_named(release, file, ask):
    place = release.photos.locations["img-yellow"]
    assert place.file.endswith(file.name), "the last of its file"
    file.write_bytes(file.read_bytes()[:-1])

    assert f"{file}: " in refused(release.photos, *ask)


def test_missing_photo_file_prevents_opening(lake, file):
    file.unlink()

    assert f"{file}: not found" in refused(lake, Release.open)


def test_truncated_photo_file_prevents_opening(lake, file):
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-1])

    assert f"{size - 1:,} bytes" in refused(lake, Release.open)


@pytest.mark.parametrize(
    "path", ["../x", "/etc", "a/../../b", "s3://bucket", "a\\b", f"x/{'a' * 64}/y"]
)
def test_file_outside_lake_or_not_named_by_hash_is_rejected(lake, release, path):
    table = table_of(lake)
    files = [f"{path}/{'a' * 64}.jpegs" if "aaa" not in path else path] * len(table)
    wrong = table.set_column(1, "file", pa.array(files))

    with pytest.raises(ValueError, match="lake"):
        PhotoStore.open(written(wrong), Lake(lake))


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda table: table.drop("offset"), "image_id, file, offset"),
        (lambda table: pa.concat_tables([table, table]), r"\b10 rows.*\b5 photos"),
        (lambda table: table.set_column(3, "bytes", pa.array([0] * 5)), "bytes|empty"),
        (lambda table: table.set_column(3, "bytes", pa.array([None] * 5, pa.int64())), "value"),
        (lambda table: table.set_column(2, "offset", pa.array(["x"] * 5)), "types?"),
    ],
)
def test_inconsistent_photo_table_is_rejected(lake, change, pattern):
    with pytest.raises(ValueError, match=pattern):
        PhotoStore.open(written(change(table_of(lake))), Lake(lake))


def test_photo_files_have_path_size_and_checksum(release):
    for artifact in release.photos.artifacts():
        data = Path(release.photos._lake.url, artifact.path).read_bytes()
        assert artifact.bytes == len(data)
        assert artifact.sha256 == hashlib.sha256(data).hexdigest()


def test_open_of_10000_photos_takes_less_than_a_second(tmp_path):
    (tmp_path / FOLDER).mkdir(parents=True)
    rows = []
    for part in range(40):
        data = part.to_bytes(2, "big") * 1250
        file = f"{FOLDER}/{file_name(hashlib.sha256(data).hexdigest())}"
        (tmp_path / file).write_bytes(data)
        digest = hashlib.sha256(data[:10]).digest()
        rows += [(f"{part}-{place}", file, 10 * place, 10, digest) for place in range(250)]
    columns = dict(
        zip(("image_id", "file", "offset", "bytes", "sha256"), zip(*rows, strict=True), strict=True)
    )
    table = written(pa.table({name: list(column) for name, column in columns.items()}))

    started = time.process_time()
    opened = PhotoStore.open(table, Lake(str(tmp_path)))

    assert time.process_time() - started < 1
    assert len(opened) == 10_000
