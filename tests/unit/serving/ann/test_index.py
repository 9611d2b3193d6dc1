import hashlib
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fb_marketplace_serving.ann.build import build_index, flat_index
from fb_marketplace_serving.ann.faiss_index import KINDS
from fb_marketplace_serving.ann.index import Index, IndexMismatchError
from fb_marketplace_serving.ann.knn import exact_distances
from fb_marketplace_serving.storage.private_file import PrivateFile, release_pages


@pytest.fixture
def vectors():
    random = np.random.default_rng(0)
    matrix = random.normal(size=(200, 16)).astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


@pytest.fixture
def index(vectors):
    count = len(vectors)
    return Index.build_flat(
        vectors, [f"i{row}" for row in range(count)], [f"p{row // 2}" for row in range(count)]
    )


def rewritten(ids, change):
    sink = pa.BufferOutputStream()
    pq.write_table(change(pq.read_table(pa.BufferReader(ids))), sink)
    return sink.getvalue().to_pybytes()


def with_metadata(ids, **changed):
    """Ids that say something else of their index; what is None they do not say."""

    def change(table):
        values = {name.decode(): value for name, value in table.schema.metadata.items()} | changed
        return table.replace_schema_metadata(
            {name: value for name, value in values.items() if value is not None}
        )

    return rewritten(ids, change)


def test_search_equals_brute_force(index, vectors):
    query = np.random.default_rng(1).normal(size=16).astype(np.float32)

    rows, distances = index.search(query, 7)

    every_distance = ((vectors - query) ** 2).sum(axis=1)
    assert rows.tolist() == np.argsort(every_distance)[:7].tolist()
    np.testing.assert_allclose(distances, np.sort(every_distance)[:7], rtol=1e-5)


def test_search_finds_stored_vector_at_distance_zero(index, vectors):
    rows, distances = index.search(vectors[42], 1)

    assert (rows.tolist(), distances.tolist()) == ([42], [0.0])


def test_cosines_equal_dot_products(index, vectors):
    rows = np.array([7, 3, 7, 199])

    result = index.cosines(vectors[3], rows)

    assert result.dtype == np.float32
    np.testing.assert_allclose(result, vectors[rows] @ vectors[3], atol=1e-6)
    assert index.cosines(vectors[3], np.empty(0, np.int64)).shape == (0,)


@pytest.mark.parametrize("size", [0, 15, 17])
def test_cosines_of_query_of_other_dimension_are_rejected(index, size):
    with pytest.raises(ValueError, match="16"):
        index.cosines(np.zeros(size, np.float32), np.array([7, 3]))


@pytest.mark.parametrize("row", [-1, 200, 1 << 40])
def test_cosines_of_row_that_does_not_exist_are_rejected(index, vectors, row):
    with pytest.raises(IndexError, match="expected 0 to 199"):
        index.cosines(vectors[3], np.array([7, row]))


def test_distances_to_row_that_does_not_exist_are_rejected(index, vectors):
    with pytest.raises(IndexError, match="expected 0 to 199"):
        exact_distances(index.source, vectors[:1], np.array([-1, 7]))


def test_distances_of_query_of_other_dimension_are_rejected(index, vectors):
    with pytest.raises(ValueError, match="16"):
        exact_distances(index.source, vectors[:1, :15], np.array([7]))


def test_vectors_returns_stored_vectors(index, vectors):
    np.testing.assert_array_equal(index.vectors(np.array([5, 0])), vectors[[5, 0]])


def test_search_in_batch_equals_single_queries(index, vectors):
    rows, distances = index.search(vectors[:5], 3)

    assert rows.shape == distances.shape == (5, 3)
    assert rows.tolist() == [index.search(query, 3).rows.tolist() for query in vectors[:5]]


def test_search_with_fewer_rows_than_k_returns_all(vectors):
    small = Index.build_flat(vectors[:3], ["a", "b", "c"], ["p", "p", "q"])

    assert small.search(vectors[0], 10).rows.shape == (3,)


def test_empty_index_has_no_neighbors():
    empty = Index.build_flat(np.empty((0, 4), np.float32), [], [])

    assert empty.search(np.zeros(4, np.float32), 5).rows.shape == (0,)
    assert empty.search(np.zeros((2, 4), np.float32), 5).rows.shape == (2, 0)


@pytest.mark.parametrize("shape", [(15,), (2, 17), (1, 1, 16), ()])
def test_query_of_wrong_dimension_is_rejected(index, shape):
    with pytest.raises(ValueError, match=r"\(16,\)"):
        index.search(np.zeros(shape, np.float32), 1)


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e20, 1e300, -1e15])
def test_query_with_extreme_numbers_is_rejected(index, vectors, number):
    query = vectors[0].astype(np.float64)
    query[3] = number

    with pytest.raises(ValueError, match=r"\b1\b.*finite"):
        index.search(query, 1)


def test_query_at_largest_allowed_distance_is_answered(vectors):
    vectors[:, 3] = 9e14
    index = Index.build_flat(vectors, ["i"] * 200, ["p"] * 200)

    rows, distances = index.search(-vectors[:2], 200)

    assert sorted(rows[0].tolist()) == list(range(200))
    assert np.isfinite(distances).all()


def test_search_with_k_below_one_is_rejected(index, vectors):
    with pytest.raises(ValueError, match=r"\bk\b.*\b0\b"):
        index.search(vectors[0], 0)


def test_index_round_trips_through_bytes(index, vectors):
    again = Index.from_bytes(*index.to_bytes())

    assert (len(again), again.dimension) == (200, 16)
    assert (again.image_ids, again.product_ids) == (index.image_ids, index.product_ids)
    for result, expected in zip(again.search(vectors, 4), index.search(vectors, 4), strict=True):
        np.testing.assert_array_equal(result, expected)


def test_to_bytes_is_deterministic(index):
    assert index.to_bytes() == Index.from_bytes(*index.to_bytes()).to_bytes()


def test_ids_of_other_version_are_rejected(index, vectors):
    shorter = Index.build_flat(vectors[1:], index.image_ids[1:], index.product_ids[1:])

    with pytest.raises(IndexMismatchError, match=r"sha256.*sha256"):
        Index.from_bytes(index.to_bytes()[0], shorter.to_bytes()[1])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"index_sha256": "0" * 64}, "sha256 000000000000"),
        ({"index_count": "199"}, r"\b200\b.*\b16\b.*\b199\b.*\b16\b"),
        ({"index_dimension": "17"}, r"\b200\b.*\b16\b.*\b200\b.*\b17\b"),
    ],
    ids=["checksum", "count", "dimension"],
)
def test_index_that_differs_from_its_ids_is_rejected(index, changed, message):
    content, ids = index.to_bytes()

    with pytest.raises(IndexMismatchError, match=message):
        Index.from_bytes(content, with_metadata(ids, **changed))


@pytest.mark.parametrize("lacking", ["index_sha256", "index_count", "index_dimension"])
def test_ids_of_older_format_are_rejected(index, lacking):
    content, ids = index.to_bytes()

    with pytest.raises(IndexMismatchError, match="indexing"):
        Index.from_bytes(content, with_metadata(ids, **{lacking: None}))


def test_ids_with_missing_rows_are_rejected(index):
    content, ids = index.to_bytes()

    with pytest.raises(IndexMismatchError, match=r"\b200\b.*\b199\b"):
        Index.from_bytes(content, rewritten(ids, lambda table: table.slice(1)))


@pytest.mark.parametrize("place", range(0, 12_000, 1000))
def test_index_with_one_changed_byte_never_reaches_faiss(index, place):
    content, ids = index.to_bytes()
    changed = bytearray(content)
    changed[place] ^= 0x55

    with pytest.raises(IndexMismatchError, match=r"sha256.*sha256"):
        Index.from_bytes(bytes(changed), ids)


def test_non_index_bytes_with_matching_ids_are_rejected(index):
    ids = with_metadata(index.to_bytes()[1], index_sha256=hashlib.sha256(b"none").hexdigest())

    with pytest.raises(IndexMismatchError, match=r"\b4 bytes\b.*FAISS"):
        Index.from_bytes(b"none", ids)


def test_build_flat_with_too_few_ids_is_rejected(vectors):
    with pytest.raises(IndexMismatchError, match=r"\b200\b.*\b1\b"):
        Index.build_flat(vectors, ["a"], ["p"])


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e20])
def test_build_flat_with_extreme_numbers_is_rejected(vectors, number):
    vectors[3, 2] = number

    with pytest.raises(ValueError, match=r"\b1\b.*finite"):
        Index.build_flat(vectors, ["i"] * 200, ["p"] * 200)


@pytest.mark.parametrize(
    ("indexes_by_kind", "message"),
    [
        (lambda: faiss.IndexFlatIP(16), "squared L2"),
        (lambda: faiss.IndexPQ(16, 4, 8), r"\bIndexPQ\b.*\bflat, "),
        (lambda: faiss.IndexHNSWSQ(16, faiss.ScalarQuantizer.QT_8bit, 8), "IndexHNSWSQ"),
    ],
)
def test_index_of_unknown_kind_is_rejected(index, indexes_by_kind, message):
    content = faiss.serialize_index(indexes_by_kind()).tobytes()
    digest = hashlib.sha256(content).hexdigest()

    with pytest.raises(IndexMismatchError, match=message):
        Index.from_bytes(content, with_metadata(index.to_bytes()[1], index_sha256=digest))


def test_ids_with_other_columns_are_rejected(index):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": ["a"]}), sink)

    with pytest.raises(IndexMismatchError, match="image_id"):
        Index.from_bytes(index.to_bytes()[0], sink.getvalue().to_pybytes())


@pytest.mark.parametrize("damaged", ["index", "ids"])
@pytest.mark.parametrize("size", [0, 3, 60])
def test_truncated_bytes_are_rejected(index, damaged, size):
    parts = dict(zip(["index", "ids"], index.to_bytes(), strict=True))
    parts[damaged] = parts[damaged][:size]

    with pytest.raises(IndexMismatchError):
        Index.from_bytes(**parts)


def test_search_from_many_threads_equals_one_thread(index, vectors):
    expected = [index.search(query, 5).rows.tolist() for query in vectors]

    with ThreadPoolExecutor(8) as threads:
        result = list(threads.map(lambda query: index.search(query, 5).rows.tolist(), vectors))

    assert result == expected


def test_search_restores_openmp_threads_of_caller(index, vectors):
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    try:
        index.search(vectors[0], 1)
        assert faiss.omp_get_max_threads() == 2
    finally:
        faiss.omp_set_num_threads(before)


@pytest.mark.parametrize("kind", KINDS)
def test_mapped_index_answers_like_one_in_memory(kind, matrix, queries, tmp_path):
    ids = [f"{row:05}" for row in range(len(matrix))]
    index = Index(build_index(kind, flat_index([matrix])), ids, ids)
    content, id_content = index.to_bytes()

    mapped = Index.from_bytes(PrivateFile.from_blocks([content], tmp_path), id_content, tmp_path)

    assert mapped.kind == kind
    assert (mapped.image_ids, mapped.product_ids) == (ids, ids)
    for query in queries[:20]:
        ours, theirs = mapped.search(query, 10), index.search(query, 10)
        assert ours.rows.tolist() == theirs.rows.tolist()
        assert ours.distances.tobytes() == theirs.distances.tobytes()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells where files are mapped")
def test_pages_of_a_mapped_index_are_released(tmp_path):
    matrix = np.random.default_rng(0).normal(size=(20_000, 128)).astype(np.float32)
    ids = [f"{row:05}" for row in range(len(matrix))]
    content, id_content = Index.build_flat(matrix, ids, ids).to_bytes()
    mapped = Index.from_bytes(PrivateFile.from_blocks([content], tmp_path), id_content, tmp_path)
    nearest = mapped.search(matrix[7], 3).rows.tolist()
    before = resident_files()

    release_pages()

    assert before - resident_files() > matrix.nbytes / 2
    assert mapped.search(matrix[7], 3).rows.tolist() == nearest


def resident_files():
    """Return the bytes of files that are mapped and in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["RssFile"].split()[0]) * 1024


def test_distances_of_a_mapped_index_copy_only_their_rows(matrix, tmp_path):
    ids = [f"{row:05}" for row in range(len(matrix))]
    content, id_content = Index.build_flat(matrix, ids, ids).to_bytes()
    mapped = Index.from_bytes(PrivateFile.from_blocks([content], tmp_path), id_content, tmp_path)
    rows = np.array([1, 5])

    tracemalloc.start()
    mapped.cosines(matrix[0], rows)
    mapped.vectors(rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < matrix.nbytes / 10


@pytest.mark.parametrize("kind", KINDS)
def test_nearest_rows_are_those_of_search(kind):
    random = np.random.default_rng(4)
    matrix = random.normal(size=(600, 16)).astype(np.float32)
    matrix[300:400] = matrix[:100]  # equally near: the lower row is first
    names = [str(row) for row in range(600)]
    index = Index(build_index(kind, flat_index([matrix])), names, names)
    for query in random.normal(size=(40, 16)).astype(np.float32):
        for k in (1, 25, 600, 700):
            for mask in (None, random.random(600) < 0.3, np.zeros(600, np.bool_)):
                rows = index.nearest(query, k, mask)
                np.testing.assert_array_equal(rows, index.search(query, k, mask).rows)


@pytest.mark.parametrize("kind", KINDS)
def test_nearest_rows_of_a_mapped_index_are_those_of_search(kind, matrix, queries, tmp_path):
    ids = [f"{row:05}" for row in range(len(matrix))]
    index = Index(build_index(kind, flat_index([matrix])), ids, ids)
    content, id_content = index.to_bytes()
    mapped = Index.from_bytes(PrivateFile.from_blocks([content], tmp_path), id_content, tmp_path)

    for query in queries[:10]:
        expected = index.search(query, 25).rows
        np.testing.assert_array_equal(mapped.nearest(query, 25), expected)


def test_nearest_of_one_vector_is_its_row(vectors):
    single = Index.build_flat(vectors[:1], ["a"], ["p"])

    for k in (1, 20):
        assert single.nearest(vectors[5], k).tolist() == [0]
        assert single.nearest(vectors[5], k, np.array([False])).tolist() == []


def test_nearest_of_empty_index_is_nothing():
    empty = Index.build_flat(np.empty((0, 4), np.float32), [], [])

    assert empty.nearest(np.zeros(4, np.float32), 5).shape == (0,)


@pytest.mark.parametrize("shape", [(1, 16), (2, 16), ()])
def test_nearest_of_several_queries_is_rejected(index, shape):
    with pytest.raises(ValueError, match=r"expected \(16,\)"):
        index.nearest(np.zeros(shape, np.float32), 1)
