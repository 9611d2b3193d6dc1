"""Lance tables as candidate sources: the same results as those of a scan."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
from support.builders.brute_force import COUNT, DIMENSION, brute_force

from fb_marketplace.ann.vector_tables import write_vector_table
from fb_marketplace.parameters.release import SearchParameters
from fb_marketplace_serving.ann import vector_table
from fb_marketplace_serving.ann.build import flat_index
from fb_marketplace_serving.ann.faiss_index import FaissIndex
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.ann.vector_table import VectorTable, VectorTableError, vector_blocks
from fb_marketplace_serving.interpreter_lock import INTERPRETER
from fb_marketplace_serving.storage.private_file import PrivateFile

CACHE = 1 << 20


def write(url, matrix, min_indexed=256):
    parameters = SearchParameters(engine="lance", min_indexed_vectors=min_indexed)
    return write_vector_table(str(url), FaissIndex(flat_index([matrix])), parameters)


@pytest.fixture(
    scope="module",
    params=[(256, False), (256, True), (COUNT + 1, False)],
    ids=["indexed", "copied", "small"],
)
def table(request, matrix, tmp_path_factory):
    min_indexed, is_copied = request.param
    url = str(tmp_path_factory.mktemp("tables") / "table")
    version = write(url, matrix, min_indexed)
    table = VectorTable.open(url, version, CACHE)
    if is_copied:
        table.use_copy(PrivateFile.from_blocks(vector_blocks(url, version)))
    return table


@pytest.fixture
def index(table):
    names = [f"i{row}" for row in range(COUNT)]
    return Index(table, names, names)


@pytest.mark.parametrize("k", [1, 10, 300])
def test_search_returns_nearest_rows(index, matrix, queries, k):
    for query in queries[:20]:
        rows, distances = index.search(query, k)
        expected, expected_distances = brute_force(matrix, query, k)

        assert rows.tolist() == expected.tolist()
        np.testing.assert_allclose(distances, expected_distances, rtol=1e-4)


def test_nearest_rows_are_those_of_search(index, queries):
    mask = np.random.default_rng(4).random(COUNT) < 0.3
    for query in queries[:20]:
        for keep in (None, mask):
            expected = index.search(query, 10, keep).rows
            np.testing.assert_array_equal(index.nearest(query, 10, keep), expected)


@pytest.mark.parametrize("row", [-1, COUNT])
def test_cosines_of_row_that_does_not_exist_are_rejected(index, queries, row):
    with pytest.raises(IndexError, match="expected 0 to"):
        index.cosines(queries[0], np.array([0, row]))


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01, 0.001])
def test_filtered_search_has_all_nearest_rows(index, matrix, queries, share, monkeypatch):
    monkeypatch.setattr(vector_table, "EXACT_ROWS", 20)
    keep = np.random.default_rng(4).random(COUNT) < share

    for query in queries[:20]:
        expected = brute_force(matrix, query, 10, keep)[0].tolist()
        assert index.search(query, 10, keep).rows.tolist() == expected


def test_filter_of_distant_rows_returns_nearest_of_them(index, matrix):
    distances = ((matrix - matrix[7]) ** 2).sum(axis=1)
    keep = distances > np.quantile(distances, 0.6)

    expected = brute_force(matrix, matrix[7], 10, keep)[0].tolist()
    assert index.search(matrix[7], 10, keep).rows.tolist() == expected


def test_search_returns_all_copies_by_row(tmp_path):
    matrix = np.repeat(np.eye(4, DIMENSION, dtype=np.float32), 500, axis=0)
    table = VectorTable.open(str(tmp_path / "t"), write(tmp_path / "t", matrix), CACHE)

    rows = Index(table, [""] * 2000, [""] * 2000).search(matrix[700], 200).rows

    assert rows.tolist() == list(range(500, 700))


def test_within_returns_allowed_rows_in_radius(table, matrix, queries):
    allowed = np.arange(0, COUNT, 3)
    distances = ((matrix - queries[0]) ** 2).sum(axis=1)
    radius = float(np.quantile(distances, 0.2))

    expected = set(np.flatnonzero(distances < radius).tolist())
    assert set(table.within(queries[:1], radius).tolist()) == expected
    assert set(table.within(queries[:1], radius, allowed).tolist()) == expected & set(
        allowed.tolist()
    )


def test_copied_vectors_are_not_read_again(matrix, tmp_path, monkeypatch):
    url = str(tmp_path / "t")
    version = write(url, matrix)
    table = VectorTable.open(url, version, CACHE)
    table.use_copy(PrivateFile.from_blocks(vector_blocks(url, version), tmp_path))
    monkeypatch.setattr(table._dataset, "take", None)
    rows = np.array([COUNT - 1, 0, 7, 7])

    np.testing.assert_array_equal(table.vectors(rows), matrix[rows])


def test_copy_of_another_size_is_rejected(matrix, tmp_path):
    table = VectorTable.open(str(tmp_path / "t"), write(tmp_path / "t", matrix), CACHE)

    with pytest.raises(VectorTableError, match=r"found 8 bytes.*expected"):
        table.use_copy(PrivateFile.from_blocks([bytes(8)], tmp_path))


@pytest.mark.parametrize("share", [0.01, 0.5])
def test_bitmap_over_many_containers_passes_its_rows(tmp_path, share):
    """Rows beyond 65,536 are in further containers, of lists or of masks."""
    count = 200_000
    table = VectorTable.open(
        str(tmp_path / "t"), write(tmp_path / "t", np.zeros((count, 2), np.float32)), CACHE
    )
    allowed = np.flatnonzero(np.random.default_rng(0).random(count) < share)
    allowed = allowed[(allowed < 65_536) | (allowed >= 131_072)]  # a container without rows

    rows = table.within(np.zeros((1, 2), np.float32), 1.0, allowed)

    np.testing.assert_array_equal(np.sort(rows), allowed)


@pytest.mark.parametrize("slots", [0, 1, 7, COUNT])
def test_vectors_are_right_however_small_the_cache(tmp_path, matrix, slots):
    version = write(tmp_path / "t", matrix, min_indexed=COUNT + 1)
    table = VectorTable.open(str(tmp_path / "t"), version, 2 * 4 * DIMENSION * slots)
    random = np.random.default_rng(1)

    for _ in range(20):
        rows = random.integers(COUNT, size=random.integers(1, 40))
        np.testing.assert_array_equal(table.vectors(rows), matrix[rows])
        assert (table._cache._slot_of_row >= 0).sum() <= slots


def test_cached_vectors_are_not_read_again(tmp_path, matrix, monkeypatch):
    version = write(tmp_path / "t", matrix)
    table = VectorTable.open(str(tmp_path / "t"), version, CACHE)
    table.vectors(np.arange(50))
    monkeypatch.setattr(table, "_read", None)

    np.testing.assert_array_equal(table.vectors(np.arange(49, 9, -1)), matrix[49:9:-1])


def test_missing_table_or_version_is_named(tmp_path, matrix):
    with pytest.raises(VectorTableError, match="no version 1"):
        VectorTable.open(str(tmp_path / "none"), 1, CACHE)
    version = write(tmp_path / "t", matrix)
    with pytest.raises(VectorTableError, match=f"no version {version + 1}"):
        VectorTable.open(str(tmp_path / "t"), version + 1, CACHE)


def test_other_table_is_rejected(tmp_path):
    import lance
    import pyarrow as pa

    lance.write_dataset(pa.table({"a": [1]}), str(tmp_path / "t"))

    with pytest.raises(VectorTableError, match="columns a"):
        VectorTable.open(str(tmp_path / "t"), 1, CACHE)


def test_table_whose_row_ids_are_no_positions_is_rejected(tmp_path, matrix):
    import lance

    write(tmp_path / "t", matrix)
    dataset = lance.dataset(str(tmp_path / "t"))
    overwritten = lance.write_dataset(dataset.to_table(), str(tmp_path / "t"), mode="overwrite")

    with pytest.raises(VectorTableError, match=r"fragments \[1\]"):
        VectorTable.open(str(tmp_path / "t"), overwritten.version, CACHE)


def test_table_with_files_of_another_is_rejected(tmp_path, matrix):
    import lance

    version = write(tmp_path / "other", matrix)
    clone = lance.dataset(str(tmp_path / "other")).shallow_clone(str(tmp_path / "t"), version)

    with pytest.raises(VectorTableError, match=r"files in .*/other"):
        VectorTable.open(str(tmp_path / "t"), clone.version, CACHE)


@pytest.mark.parametrize("min_indexed", [256, COUNT + 1], ids=["indexed", "small"])
def test_failed_read_is_os_error(tmp_path, matrix, min_indexed):
    version = write(tmp_path / "t", matrix, min_indexed)
    table = VectorTable.open(str(tmp_path / "t"), version, CACHE)
    shutil.rmtree(tmp_path / "t")

    # The server answers it with 503.
    with pytest.raises(OSError):  # noqa: PT011
        Index(table, [""] * COUNT, [""] * COUNT).search(matrix[0], 10)


def test_table_is_not_read_for_some_time_after_slow_failure(tmp_path, matrix, monkeypatch):
    table = VectorTable.open(str(tmp_path / "t"), write(tmp_path / "t", matrix), CACHE)
    (tmp_path / "t/data").rename(tmp_path / "t/elsewhere")
    monkeypatch.setattr(vector_table, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(vector_table, "PAUSE_SECONDS", 60.0)
    with pytest.raises(OSError, match="Not found"):
        table.vectors(np.arange(9))
    (tmp_path / "t/elsewhere").rename(tmp_path / "t/data")

    with pytest.raises(OSError, match="last 60 s"):
        table.vectors(np.arange(9))

    monkeypatch.setattr(vector_table, "monotonic", lambda: time.monotonic() + 61)
    with table._retrying, pytest.raises(OSError, match="last 60 s"):  # another thread tries
        table.vectors(np.arange(9))
    np.testing.assert_array_equal(table.vectors(np.arange(9)), matrix[:9])


@pytest.mark.parametrize("fails", [False, True])
def test_interpreter_is_released_during_read_only(tmp_path, matrix, monkeypatch, fails):
    import lance

    table = VectorTable.open(str(tmp_path / "t"), write(tmp_path / "t", matrix), CACHE)
    take, is_locked = lance.LanceDataset.take, []

    def note(*args, **options):
        is_locked.append(INTERPRETER._lock.locked())
        if fails:
            raise OSError("Not found")
        return take(*args, **options)

    monkeypatch.setattr(lance.LanceDataset, "take", note)

    with INTERPRETER.hold():
        with pytest.raises(OSError, match="Not found") if fails else nullcontext():
            table.vectors(np.arange(9))
        is_locked.append(INTERPRETER._lock.locked())

    assert is_locked == [False, True]


def test_batch_larger_than_cache_does_not_replace_it(tmp_path, matrix):
    version = write(tmp_path / "t", matrix)
    table = VectorTable.open(str(tmp_path / "t"), version, 2 * 4 * DIMENSION * 20)
    table.vectors(np.arange(10))

    table.vectors(np.arange(10, 60))

    assert not table._cache.read(np.arange(10))[1].any()


def test_panic_is_os_error(tmp_path, matrix):
    version = write(tmp_path / "t", matrix)
    file = next((tmp_path / "t/data").glob("*.lance"))
    content = bytearray(file.read_bytes())
    content[-39] ^= 128  # the position of the metadata
    file.write_bytes(content)

    with pytest.raises(OSError, match="cannot be read"):
        VectorTable.open(str(tmp_path / "t"), version, CACHE).vectors(np.arange(9))


def test_concurrent_searches_with_small_cache_are_right(tmp_path, matrix, queries):
    version = write(tmp_path / "t", matrix)
    table = VectorTable.open(str(tmp_path / "t"), version, 2 * 4 * DIMENSION * 100)
    index = Index(table, [""] * COUNT, [""] * COUNT)
    keep = np.random.default_rng(8).random(COUNT) < 0.5
    expected = [brute_force(matrix, query, 10, keep)[0].tolist() for query in queries]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda query: index.search(query, 10, keep).rows.tolist(), queries))

    assert results == expected
