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
def test_how_far_it_looks_travels_in_the_file(kind, matrix):
    vectors = build_index(kind, flat_index([matrix]))
    vectors.look(list(search_settings(vectors))[3])

    again = FaissIndex.read(vectors.write())

    assert (again.kind, again.settings) == (kind, vectors.settings)
    assert again.settings != build_index(kind, flat_index([matrix])).settings


def test_comes_back_from_bytes_with_the_same_answers_and_bytes(index, queries):
    again = Index.from_bytes(*index.to_bytes())

    for found, expected in zip(again.search(queries, 10), index.search(queries, 10), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert again.to_bytes() == index.to_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_parts_give_the_bytes_of_the_whole(kind, matrix):
    parts = [matrix[start : start + 700] for start in range(0, COUNT, 700)]

    whole = build_index(kind, flat_index([matrix]), part_rows=COUNT)
    merged = build_index(kind, flat_index(parts), part_rows=700)

    assert whole.write() == merged.write()


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_threads_does_not_change_the_bytes(kind, matrix):
    made = []
    before = faiss.omp_get_max_threads()
    for threads in (1, 4):
        faiss.omp_set_num_threads(threads)
        try:
            made.append(build_index(kind, flat_index([matrix])).write())
        finally:
            faiss.omp_set_num_threads(before)

    assert made[0] == made[1]


@pytest.mark.parametrize("kind", ["ivf_sq8", "ivf_rabitq"])
def test_another_seed_gives_other_clusters(kind, matrix):
    made = [build_index(kind, flat_index([matrix]), seed=seed).write() for seed in (0, 1)]

    assert made[0] != made[1]


@pytest.mark.parametrize("kind", KINDS)
def test_is_written_as_faiss_itself_writes_it(made, kind):
    written = made[kind].write()

    assert written == faiss.serialize_index(made[kind].faiss_index).tobytes()
    assert made[kind].size_bytes == len(written)


@pytest.mark.parametrize("count", [1, 2, 9, 63, 65, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_few_vectors_can_be_of_any_kind(kind, count, matrix, queries):
    vectors = looking_everywhere(kind, matrix[:count])

    for query in queries:
        with nothing_exact():
            rows = knn.nearest_neighbors(vectors, query[np.newaxis], 10)[0][0]
        assert rows.tolist() == brute_force(matrix[:count], query, 10)[0].tolist()


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_of_no_vectors_only_flat_can_be_built(kind):
    empty = flat_index([np.empty((0, 4), np.float32)])

    assert len(build_index("flat", empty)) == 0
    with pytest.raises(ValueError, match=kind):
        build_index(kind, empty)


@pytest.mark.parametrize("part", [np.zeros((2, 5)), np.zeros(4), np.full((1, 4), np.inf)])
def test_refuses_a_part_that_does_not_fit(part):
    with pytest.raises(ValueError, match=r"\(n, 4\)"):
        flat_index([np.zeros((3, 4), np.float32), part.astype(np.float32)])


def test_refuses_no_part_at_all():
    with pytest.raises(ValueError, match="embeddings"):
        flat_index([])


@pytest.mark.parametrize("rows", [0, 900, 1000, 1100])
def test_room_that_was_made_does_not_change_what_is_held(rows, matrix):
    held = flat_index([matrix[:600], matrix[600:1000]], rows)

    np.testing.assert_array_equal(FaissIndex(held).matrix, matrix[:1000])
    assert FaissIndex(held).write() == FaissIndex(flat_index([matrix[:1000]])).write()


def test_clusters_are_as_many_as_can_be_trained_on():
    for count in (1, 63, 64, 1000, 100_000, 1_000_000):
        assert index_building.num_clusters(count) * index_building.MAX_TRAINING_VECTORS <= max(
            64, count
        )
