"""Releases whose vectors are in Lance tables, in a folder or in a bucket."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from fb_marketplace.ann.vector_tables import WrittenTable, write_vector_table
from fb_marketplace.parameters.release import SearchParameters
from fb_marketplace.pipelines.release.build_manifest import make_vector_table
from fb_marketplace_serving.ann import vector_table
from fb_marketplace_serving.ann.build import flat_index
from fb_marketplace_serving.ann.faiss_index import FaissIndex
from fb_marketplace_serving.ann.vector_table import VectorTable
from fb_marketplace_serving.release import vector_tables
from fb_marketplace_serving.release.admin import export, verify
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.manifest import INDEXES, Manifest, ReleaseError
from fb_marketplace_serving.release.pointer import publish, read_current
from fb_marketplace_serving.release.provenance_report import explain
from fb_marketplace_serving.release.vector_tables import open_vector_tables
from fb_marketplace_serving.storage.lake import Lake
from fb_marketplace_serving.storage.private_file import PrivateFile

PARAMETERS = SearchParameters(engine="lance", min_indexed_vectors=256)


def with_tables(lake, manifest):
    """Write tables in place of the indexes of a release, and return its manifest."""
    tables = {}
    for name in INDEXES:
        file = manifest.artifacts[name]
        url = lake.name(f"tables/{name}")
        version = write_vector_table(url, FaissIndex.read(lake.read(file.path)), PARAMETERS)
        tables[name] = make_vector_table(lake, url, WrittenTable(version, file.sha256))
        lake.remove(file.path)
    others = {name: file for name, file in manifest.artifacts.items() if name not in INDEXES}
    changes = {"artifacts": others, "search_engine": "lance", "vector_tables": tables}
    return Manifest.model_validate(manifest.model_dump() | changes)


@pytest.fixture
def original(tmp_path, make_release):
    """The release with FAISS indexes, opened."""
    return Release.from_manifest(Lake(str(tmp_path)), make_release("v1", searchable=True))


@pytest.fixture
def lance_lake(tmp_path, original):
    """A lake with the same release, with tables."""
    lake = Lake(str(tmp_path))
    publish(lake, with_tables(lake, original.manifest))
    return lake


def assert_same_vectors(release, original):
    for index, expected in (
        (release.index, original.index),
        (release.search.text_index, original.search.text_index),
        (release.search.text_to_image_index, original.search.text_to_image_index),
    ):
        rows = np.arange(len(expected))
        assert index.image_ids == expected.image_ids
        np.testing.assert_array_equal(index.vectors(rows), expected.vectors(rows))
        query = expected.vectors(rows[:1])[0]
        assert index.search(query, 3).rows.tolist() == expected.search(query, 3).rows.tolist()


def test_release_with_tables_has_same_vectors(lance_lake, original):
    assert_same_vectors(Release.open(lance_lake.url), original)


def test_release_with_tables_in_bucket_has_same_vectors(tmp_path, bucket, original):
    lake, folder = Lake(bucket), Lake(str(tmp_path))
    for path in folder.find():
        lake.create(path, folder.read(path))
    publish(lake, with_tables(lake, original.manifest))

    assert_same_vectors(Release.open(bucket), original)


def test_exported_release_with_tables_opens(lance_lake, original, tmp_path):
    export(lance_lake, str(tmp_path / "exported"), None, print)

    assert_same_vectors(Release.open(str(tmp_path / "exported")), original)


def test_verify_names_damaged_file_of_table(lance_lake):
    file = next(Path(lance_lake.url).glob("tables/text_index/data/*.lance"))
    verify(lance_lake, None, print)
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)

    with pytest.raises(ReleaseError, match=rf"{file.name}.*sha256"):
        verify(lance_lake, None, print)


@pytest.mark.parametrize("size", [None, 7])
def test_missing_or_short_file_of_table_is_named(lance_lake, size):
    file = next(Path(lance_lake.url).glob("tables/image_index/data/*.lance"))
    if size is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:size])

    with pytest.raises(ReleaseError, match=rf"{file.name}: (not found|found 7)"):
        Release.open(lance_lake.url)


@pytest.fixture
def large(tmp_path, original):
    """A manifest with a table that is large enough for an index, and the table's vectors."""
    lake = Lake(str(tmp_path))
    matrix = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    url = lake.name("tables/large")
    version = write_vector_table(url, FaissIndex(flat_index([matrix])), PARAMETERS)
    files = make_vector_table(lake, url, WrittenTable(version, "0" * 64))
    tables = with_tables(lake, original.manifest).vector_tables | {"image_index": files}
    return original.manifest.model_copy(update={"vector_tables": tables}), matrix


FILES = ("_versions/*.manifest", "_indices/*/*.idx", "_transactions/*", "data/*.lance")


@pytest.mark.parametrize("disk_bytes", [0, 10**9])
@pytest.mark.parametrize("pattern", FILES)
def test_damaged_metadata_of_table_is_named(tmp_path, large, pattern, disk_bytes):
    file = next((tmp_path / "tables/large").glob(pattern))
    content = bytearray(file.read_bytes())
    content[-30] ^= 128
    file.write_bytes(content)

    with pytest.raises(ReleaseError, match=rf"{file.name}: .*(sha256|checksum)"):
        open_vector_tables(Lake(str(tmp_path)), large[0], tmp_path, disk_bytes=disk_bytes)


def test_copied_table_does_not_read_the_lake(tmp_path, large, monkeypatch):
    monkeypatch.setattr(vector_table, "EXACT_ROWS", 20)  # the index is read
    manifest, matrix = large
    (tmp_path / "disk").mkdir()
    loaders = open_vector_tables(Lake(str(tmp_path)), manifest, tmp_path / "disk", disk_bytes=10**9)
    shutil.rmtree(tmp_path / "tables")

    (table,) = loaders["image_index"].args[:1]
    keep = np.arange(0, len(matrix), 2)
    for query in matrix[:20]:
        distances = ((matrix - query) ** 2).sum(axis=1)
        assert set(table.top(query[np.newaxis], 5)) >= set(np.argsort(distances)[:5])
        expected = keep[np.argsort(distances[keep])[:5]]
        assert set(table.top(query[np.newaxis], 5, keep)) >= set(expected)
    np.testing.assert_array_equal(table.vectors(keep), matrix[keep])


@pytest.mark.parametrize(("disk_bytes", "expected"), [(0, 0), (10**9, 3)])
def test_tables_are_copied_if_they_fit(lance_lake, original, disk_bytes, expected):
    release = Release.open(lance_lake.url, vector_disk_bytes=disk_bytes)

    assert_same_vectors(release, original)
    search = release.search
    indexes = (release.index, search.text_index, search.text_to_image_index)
    assert sum(index.source.is_copied for index in indexes) == expected


def test_copies_of_all_tables_are_limited(lance_lake):
    files = read_current(lance_lake).vector_tables["image_index"].files

    release = Release.open(lance_lake.url, vector_disk_bytes=sum(file.bytes for file in files))

    assert release.index.source.is_copied
    assert not release.search.text_to_image_index.source.is_copied


def test_table_without_space_on_the_disk_is_read_in_the_lake(
    lance_lake, original, tmp_path, monkeypatch, caplog
):
    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PrivateFile, "from_blocks", fail)
    loaders = open_vector_tables(lance_lake, read_current(lance_lake), tmp_path, disk_bytes=10**9)

    (table,) = loaders["image_index"].args[:1]
    assert not table.is_copied
    rows = np.arange(len(original.index))
    np.testing.assert_array_equal(table.vectors(rows), original.index.vectors(rows))
    assert "No space left on device" in caplog.text
    assert "FB_CACHE_DIR" in caplog.text
    assert not list(tmp_path.glob("links-*"))


def test_failed_read_of_copied_vectors_is_release_error(lance_lake, monkeypatch):
    def fail(*args):
        yield bytes(16)
        raise OSError("the store hangs")

    monkeypatch.setattr(vector_tables, "vector_blocks", fail)

    with pytest.raises(ReleaseError, match=r"image_index: cannot be read \(the store h") as error:
        Release.open(lance_lake.url, vector_disk_bytes=10**9)
    assert isinstance(error.value.__cause__, OSError)


def test_failed_read_of_canary_is_release_error(lance_lake, monkeypatch):
    def fail(*args):
        raise OSError("the store hangs")

    monkeypatch.setattr(VectorTable, "vectors", fail)

    with pytest.raises(ReleaseError, match="the store hangs"):
        Release.open(lance_lake.url)


def test_release_with_tables_without_lance_names_extra(lance_lake, monkeypatch):
    monkeypatch.setitem(sys.modules, "lance", None)

    with pytest.raises(ReleaseError, match=r"fb-marketplace-serving\[lance\]"):
        Release.open(lance_lake.url)


def test_table_of_another_index_is_rejected(lance_lake):
    manifest = Release.open(lance_lake.url).manifest
    table = manifest.vector_tables["image_index"]
    other = table.model_copy(update={"index_sha256": "0" * 64})
    tables = manifest.vector_tables | {"image_index": other}

    with pytest.raises(ReleaseError, match=r"tables/image_index .*000000"):
        Release.from_manifest(lance_lake, manifest.model_copy(update={"vector_tables": tables}))


def test_tables_are_on_disk_before_release_is_current(tmp_path, original, monkeypatch):
    synced = set()
    monkeypatch.setattr(Lake, "sync", lambda lake, urls: synced.update(urls))
    lake = Lake(str(tmp_path))
    manifest = with_tables(lake, original.manifest)

    publish(lake, manifest)

    for table in manifest.vector_tables.values():
        assert synced >= {lake.name(file.path) for file in table.files}


def test_explanation_names_tables(lance_lake, original):
    lines = explain(lance_lake, original.index.product_ids[0])

    assert [line.split(",")[0] for line in lines if " tables/" in line] == [
        f"  table {name}: version 1" for name in INDEXES
    ]


def test_manifest_with_tables_of_another_engine_is_rejected(lance_lake):
    values = Release.open(lance_lake.url).manifest.model_dump()

    with pytest.raises(ValidationError, match="expected faiss"):
        Manifest.model_validate(values | {"search_engine": "faiss"})
