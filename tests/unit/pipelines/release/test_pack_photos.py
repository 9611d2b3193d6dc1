import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fb_marketplace.pipelines.release import pack_photos as pack_photos_module
from fb_marketplace.pipelines.release.pack_photos import (
    ends_file,
    pack_display_photos,
    pack_photos,
    write_photo_files,
    write_release_photo_files,
)
from fb_marketplace.schemas.lance import DISPLAY_PHOTOS, IMAGES
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.release.photo_store import FOLDER, PhotoStore
from fb_marketplace_serving.storage.lake import Lake


@pytest.fixture
def store(tmp_path):
    """Store photos; only ids and bytes matter here."""

    def store(jpegs):
        rows = [
            dict.fromkeys(IMAGES.names, "x")
            | {"key": name, "image_id": name, "jpeg": jpeg, "perceptual_hash": [1]}
            | {"source_size": 1, "width": 1, "height": 1}
            for name, jpeg in jpegs.items()
        ]
        url = f"{tmp_path}/images-{len(list(tmp_path.iterdir()))}.lance"
        keyed_table.ensure_table(url, IMAGES)
        table_writer.insert(url, pa.Table.from_pylist(rows, schema=IMAGES))
        return keyed_table.open_table(url)

    return store


@pytest.fixture
def publish(tmp_path):
    """Pack and write photos like a run; return the photo store and the names of written files."""

    def publish(images):
        table = tmp_path / "photos.parquet"
        table.write_bytes(pack_photos(images))
        lake = Lake(str(tmp_path / "lake"))
        written = []
        for file in write_photo_files(images, FileRef(str(table)), lake.sizes(FOLDER)):
            lake.replace(f"{FOLDER}/{file.name}", file.data)
            written.append(file.name)
        return PhotoStore.open(table.read_bytes(), lake), written

    return publish


def photos(count, first=0):
    return {f"{number:05}": f"jpeg of {number}".encode() for number in range(first, first + count)}


def test_photos_round_trip(store, publish):
    jpegs = photos(700)

    release, written = publish(store(jpegs))

    release.verify()
    assert {name: release.read(name) for name in release.locations} == jpegs
    assert len(written) == len(release.sizes)


def test_photos_are_sorted_by_id(store):
    jpegs = photos(300)

    assert pack_photos(store(jpegs)) == pack_photos(store(dict(reversed(jpegs.items()))))


def test_second_release_of_same_photos_writes_nothing(store, publish):
    publish(store(photos(300)))

    assert publish(store(photos(300)))[1] == []


def test_new_photo_changes_one_file(store, publish):
    before, first = publish(store(photos(3000)))
    after, written = publish(store(photos(3000) | {"00500x": b"new"}))

    assert len(first) > 5
    assert len(written) == 1
    assert len(before.sizes.keys() - after.sizes.keys()) == 1
    before.verify()
    after.verify()


def test_partial_file_is_rewritten(store, publish, tmp_path):
    _, (name, *_) = publish(store(photos(20)))
    (tmp_path / "lake" / FOLDER / name).write_bytes(b"half")

    again, written = publish(store(photos(20)))

    assert written == [name]
    again.verify()


def test_files_end_by_content_or_maximum_size(store, monkeypatch):
    monkeypatch.setattr(pack_photos_module, "MAX_FILE_FACTOR", 2)
    rows = pq.read_table(io.BytesIO(pack_photos(store(photos(1000)), 20))).to_pylist()

    counts = {}
    for row in rows:
        counts[row["file"]] = counts.get(row["file"], 0) + 1
    ends = {row["file"]: row["image_id"] for row in rows}

    assert max(counts.values()) == 40
    complete = list(counts)[:-1]
    assert all(counts[file] == 40 or ends_file(ends[file], 20) for file in complete)


def test_files_have_256_photos_on_average():
    cuts = sum(ends_file(f"image {number}") for number in range(100_000))

    assert 330 < cuts < 450


def test_identical_files_are_stored_once(store, publish, monkeypatch):
    monkeypatch.setattr(pack_photos_module, "MAX_FILE_FACTOR", 1 / 256)
    jpegs = dict.fromkeys(("a", "b"), b"the same") | {"c": b"another"}

    release, written = publish(store(jpegs))

    assert len(written) == len(release.sizes) == 2
    assert {name: release.read(name) for name in jpegs} == jpegs
    release.verify()


def test_changed_photos_are_not_written(store, tmp_path):
    table = tmp_path / "photos.parquet"
    table.write_bytes(pack_photos(store(photos(5))))
    others = store(photos(5) | {"00003": b"jpeg of X"})

    with pytest.raises(ValueError, match=r"photos of|photos in"):
        list(write_photo_files(others, FileRef(str(table)), {}))


def test_renditions_are_written_beside_photos(store, tmp_path):
    tables = [
        store(photos(100)),
        store({name: b"large " + jpeg for name, jpeg in photos(100).items()}),
    ]
    packed = [pack_photos(tables[0]), pack_display_photos(tables[1])]
    refs = []
    for number, data in enumerate(packed):
        (tmp_path / f"packed-{number}").write_bytes(data)
        refs.append(FileRef(str(tmp_path / f"packed-{number}")))
    lake = Lake(str(tmp_path / "lake"))
    for file in write_release_photo_files(tables[0], refs[0], tables[1], refs[1], {}):
        lake.replace(f"{FOLDER}/{file.name}", file.data)

    small, large = (PhotoStore.open(data, lake) for data in packed)
    small.verify()
    large.verify()
    assert large.read("00007") == b"large " + small.read("00007")
    assert len(large.sizes) > len(small.sizes)


def test_photo_without_rendition_has_no_row(tmp_path):
    rows = [
        {"key": name, "image_id": name, "product_id": "p", "jpeg": jpeg, "sha256": jpeg and "x"}
        for name, jpeg in {"b": b"large", "a": None}.items()
    ]
    url = f"{tmp_path}/display_photos.lance"
    keyed_table.ensure_table(url, DISPLAY_PHOTOS)
    table_writer.insert(url, pa.Table.from_pylist(rows, schema=DISPLAY_PHOTOS))
    table = pq.read_table(io.BytesIO(pack_display_photos(keyed_table.open_table(url))))

    assert table.column("image_id").to_pylist() == ["b"]


def test_lake_without_photos_has_an_empty_table(store):
    assert pq.read_table(io.BytesIO(pack_photos(store({})))).num_rows == 0
