"""Building an index of each kind, and writing it."""

import faiss
import numpy as np
import pytest
from support.builders.brute_force import (
    APPROXIMATE,
    COUNT,
    brute_force,
    looking_everywhere,
    nothing_exact,
)

from fb_marketplace_serving.ann import build as index_building
from fb_marketplace_serving.ann import knn
from fb_marketplace_serving.ann.build import build_index, flat_index, search_settings
from fb_marketplace_serving.ann.faiss_index import KINDS, FaissIndex
from fb_marketplace_serving.ann.index import Index


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_search_setting_is_stored_in_file(kind, matrix):
    vectors = build_index(kind, flat_index([matrix]))
    vectors.set_search_params(list(search_settings(vectors))[3])

    again = FaissIndex.read(vectors.write())

    assert (again.kind, again.settings) == (kind, vectors.settings)
    assert again.settings != build_index(kind, flat_index([matrix])).settings


def test_index_round_trips_through_bytes(index, queries):
    again = Index.from_bytes(*index.to_bytes())

    for result, expected in zip(again.search(queries, 10), index.search(queries, 10), strict=True):
        np.testing.assert_array_equal(result, expected)
    assert again.to_bytes() == index.to_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_build_in_parts_gives_bytes_of_whole(kind, matrix):
    parts = [matrix[start : start + 700] for start in range(0, COUNT, 700)]

    complete = build_index(kind, flat_index([matrix]), part_rows=COUNT)
    merged = build_index(kind, flat_index(parts), part_rows=700)

    assert complete.write() == merged.write()


@pytest.mark.parametrize("kind", KINDS)
def test_build_bytes_do_not_depend_on_threads(kind, matrix):
    indexes_by_kind = []
    before = faiss.omp_get_max_threads()
    for threads in (1, 4):
        faiss.omp_set_num_threads(threads)
        try:
            indexes_by_kind.append(build_index(kind, flat_index([matrix])).write())
        finally:
            faiss.omp_set_num_threads(before)

    assert indexes_by_kind[0] == indexes_by_kind[1]


@pytest.mark.parametrize("kind", ["ivf_sq8", "ivf_rabitq"])
def test_build_with_other_seed_gives_other_clusters(kind, matrix):
    indexes_by_kind = [
        build_index(kind, flat_index([matrix]), seed=seed).write() for seed in (0, 1)
    ]

    assert indexes_by_kind[0] != indexes_by_kind[1]


@pytest.mark.parametrize("kind", KINDS)
def test_to_bytes_equals_faiss_serialization(indexes_by_kind, kind):
    written = indexes_by_kind[kind].write()

    assert written == faiss.serialize_index(indexes_by_kind[kind].faiss_index).tobytes()
    assert indexes_by_kind[kind].size_bytes == len(written)


@pytest.mark.parametrize("count", [1, 2, 9, 63, 65, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_build_of_few_vectors_supports_every_kind(kind, count, matrix, queries):
    vectors = looking_everywhere(kind, matrix[:count])

    for query in queries:
        with nothing_exact():
            rows = knn.nearest_neighbors(vectors, query[np.newaxis], 10)[0][0]
        assert rows.tolist() == brute_force(matrix[:count], query, 10)[0].tolist()


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_build_of_no_vectors_supports_only_flat(kind):
    empty = flat_index([np.empty((0, 4), np.float32)])

    assert len(build_index("flat", empty)) == 0
    with pytest.raises(ValueError, match=kind):
        build_index(kind, empty)


@pytest.mark.parametrize("part", [np.zeros((2, 5)), np.zeros(4), np.full((1, 4), np.inf)])
def test_build_rejects_part_of_wrong_shape(part):
    with pytest.raises(ValueError, match=r"\(n, 4\)"):
        flat_index([np.zeros((3, 4), np.float32), part.astype(np.float32)])


def test_build_rejects_missing_parts():
    with pytest.raises(ValueError, match="embeddings"):
        flat_index([])


@pytest.mark.parametrize("rows", [0, 900, 1000, 1100])
def test_reserved_capacity_does_not_change_contents(rows, matrix):
    existing = flat_index([matrix[:600], matrix[600:1000]], rows)

    np.testing.assert_array_equal(FaissIndex(existing).matrix, matrix[:1000])
    assert FaissIndex(existing).write() == FaissIndex(flat_index([matrix[:1000]])).write()


def test_cluster_count_is_limited_by_training_vectors():
    for count in (1, 63, 64, 1000, 100_000, 1_000_000):
        assert index_building.num_clusters(count) * index_building.MAX_TRAINING_VECTORS <= max(
            64, count
        )
