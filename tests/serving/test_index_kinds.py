"""Each kind of index against comparing with every row."""

import contextlib

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fb_marketplace_serving import index_building, index_search
from fb_marketplace_serving.index import Index
from fb_marketplace_serving.index_building import build, efforts, hold
from fb_marketplace_serving.index_kinds import KINDS, Vectors

COUNT, DIMENSION = 3000, 24
APPROXIMATE = [kind for kind in KINDS if kind != "flat"]


def unit(matrix):
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


def drawn(seed, count, centres=40):
    """Unit vectors in clusters, as photos are, some of them the same."""
    random = np.random.default_rng(seed)
    middle = np.random.default_rng(99).normal(size=(centres, DIMENSION))
    vectors = unit(
        middle[random.integers(centres, size=count)] + random.normal(size=(count, DIMENSION))
    )
    vectors[count // 2 : count // 2 + count // 10] = vectors[: count // 10]
    return vectors


@pytest.fixture(scope="module")
def matrix():
    return drawn(0, COUNT)


@pytest.fixture(scope="module")
def queries():
    return drawn(1, 60)


@pytest.fixture(scope="module")
def made(matrix):
    """An index of each kind, set to look as far as it can."""

    def make(kind):
        vectors = build(kind, hold([matrix]))
        vectors.look(list(efforts(vectors))[-1])
        return vectors

    return {kind: make(kind) for kind in KINDS}


@pytest.fixture
def few_rows_exact(monkeypatch):
    """Lets the index, and not a scan, answer a filter that keeps many of these few rows."""
    monkeypatch.setattr(index_search, "EXACT_ROWS", 10)


@contextlib.contextmanager
def nothing_exact():
    """Lets the index answer whatever is asked, however few rows there are or a filter keeps."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("EXACT_ROWS", "EXACT_SHARE", "_MUCH"):
            patch.setattr(index_search, name, 0)
        yield


@pytest.fixture(params=KINDS)
def index(request, made):
    names = [f"i{row}" for row in range(COUNT)]
    return Index(made[request.param], names, names)


def brute_force(matrix, query, k, keep=None):
    """Rows and distances of the nearest, of equals the first, in doubles."""
    distances = ((matrix.astype(np.float64) - query) ** 2).sum(axis=1)
    rows = np.arange(len(matrix)) if keep is None else np.flatnonzero(keep)
    order = rows[np.lexsort((rows, distances[rows]))][:k]
    return order, distances[order]


def test_each_kind_finds_what_comparing_with_every_row_finds(index, matrix, queries):
    for query in queries:
        rows, distances = index.search(query, 10)

        expected, expected_distances = brute_force(matrix, query, 10)
        assert rows.tolist() == expected.tolist()
        np.testing.assert_allclose(distances, expected_distances, atol=1e-5)


def test_each_kind_gives_the_same_distances_to_the_last_bit(made, queries):
    names = [""] * COUNT
    answers = {kind: Index(made[kind], names, names).search(queries, 10) for kind in KINDS}

    for kind in APPROXIMATE:
        np.testing.assert_array_equal(answers[kind].distances, answers["flat"].distances)


def test_a_batch_is_answered_as_each_query_alone(index, queries):
    batch = index.search(queries, 10)

    for place, query in enumerate(queries):
        alone = index.search(query, 10)
        np.testing.assert_array_equal(batch.rows[place], alone.rows)
        np.testing.assert_array_equal(batch.distances[place], alone.distances)


def test_each_kind_finds_a_vector_that_it_holds_at_no_distance(index, matrix):
    found = index.search(matrix[:200], 1)

    assert found.distances.max() == 0
    assert found.rows[:, 0].tolist() == list(range(200))


# Of a graph with many copies of one vector not all can be reached.
@pytest.mark.parametrize(
    ("kind", "copies"),
    [(kind, copies) for kind in KINDS for copies in (3, 14, 60) if (kind, copies) != ("hnsw", 60)],
)
def test_of_equals_the_lowest_rows_are_given_wherever_the_answer_is_cut(kind, copies):
    matrix = drawn(2, 2000)
    same = np.random.default_rng(3).choice(2000, copies, replace=False)
    matrix[same] = matrix[same[0]]
    vectors = build(kind, hold([matrix]))
    vectors.look(list(efforts(vectors))[-1])

    for k in (1, copies - 1, copies):
        rows = index_search.nearest(vectors, matrix[same[:1]], k)[0][0]
        assert rows.tolist() == brute_force(matrix, matrix[same[0]], k)[0].tolist()


@pytest.mark.parametrize("keep", [None, np.arange(0, 4000, 2), np.arange(3000)])
@pytest.mark.parametrize("kind", KINDS)
def test_thousands_of_copies_are_given_in_the_order_of_rows_without_asking_again_and_again(
    kind, keep, few_rows_exact, monkeypatch
):
    matrix = drawn(2, 4000)
    matrix[500:3500] = matrix[500]
    vectors = build(kind, hold([matrix]))
    asked = []
    for name in ("nearest", "candidates"):
        way = getattr(Vectors, name)
        monkeypatch.setattr(
            Vectors, name, lambda *told, way=way, **named: asked.append(1) or way(*told, **named)
        )

    rows = Index(vectors, [""] * 4000, [""] * 4000).search(matrix[500], 12, keep).rows

    expected = np.arange(500, 3500) if keep is None else keep[(keep >= 500) & (keep < 3500)]
    assert rows.tolist() == expected[:12].tolist()
    assert len(asked) <= 4


def test_copies_that_faiss_puts_further_away_than_they_are_are_found_all_the_same(monkeypatch):
    matrix = np.repeat(drawn(2, 4), 500, axis=0)
    vectors = build("ivf_sq8", hold([matrix]))
    monkeypatch.setattr(Vectors, "within", lambda *_: np.empty(0, np.int64))

    rows = index_search.nearest(vectors, matrix[:1], 12)[0][0]

    assert rows.tolist() == list(range(12))


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_that_are_all_the_same_are_given_in_the_order_of_rows(kind):
    vectors = build(kind, hold([np.ones((1000, 4), np.float32)]))

    rows = index_search.nearest(vectors, np.ones((1, 4), np.float32), 12)[0][0]

    assert rows.tolist() == list(range(12))


def test_all_rows_can_be_asked_for(index, matrix, queries):
    rows, distances = index.search(queries[0], COUNT + 5)

    assert rows.tolist() == brute_force(matrix, queries[0], COUNT)[0].tolist()
    assert (np.diff(distances) >= 0).all()


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01, 0.001])
def test_a_filter_gives_the_nearest_of_what_it_keeps(index, matrix, queries, share, few_rows_exact):
    keep = np.random.default_rng(4).random(COUNT) < share

    for query in queries[:20]:
        expected = brute_force(matrix, query, 10, keep)[0].tolist()
        assert index.search(query, 10, keep).rows.tolist() == expected
        assert index.search(query, 10, np.flatnonzero(keep)).rows.tolist() == expected


@pytest.mark.parametrize("quantile", [0.3, 0.6, 0.95])
def test_a_filter_that_keeps_what_is_far_gives_the_nearest_of_it(
    index, matrix, quantile, few_rows_exact
):
    query = matrix[7]
    distances = ((matrix - query) ** 2).sum(axis=1)
    keep = distances > np.quantile(distances, quantile)

    # The hardest case: nothing of what the index is set to look at may be given.
    expected = brute_force(matrix, query, 10, keep)[0].tolist()
    assert index.search(query, 10, keep).rows.tolist() == expected


def looking_everywhere(kind, matrix):
    """An index of a kind that passes over nothing, and so finds what comparing finds."""
    vectors = build(kind, hold([matrix]))
    vectors.look(list(efforts(vectors))[-1])
    if kind == "ivf_rabitq":
        # Of rows that are nearly the same, a bit a number does not tell the nearest.
        vectors.look({"k_factor": len(matrix)})
    return vectors


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_filter_gives_the_nearest_of_what_it_keeps(data):
    count = data.draw(st.integers(1, 400))
    random = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    # Few different numbers, so that there are ties.
    matrix = random.integers(0, 3, size=(count, 3)).astype(np.float32)
    keep = random.random(count) < data.draw(st.sampled_from([0.0, 0.02, 0.2, 0.6, 0.95, 1.0]))
    k = data.draw(st.integers(1, 70))
    vectors = looking_everywhere(data.draw(st.sampled_from(KINDS)), matrix)
    query = random.integers(0, 3, size=3).astype(np.float32)

    with nothing_exact():
        rows, distances = Index(vectors, [""] * count, [""] * count).search(query, k, keep)

    expected, expected_distances = brute_force(matrix, query, k, keep)
    assert len(rows) == len(set(rows.tolist())) == min(k, keep.sum())
    assert keep[rows].all()
    if vectors.kind != "hnsw":  # A graph may lose what is among many copies.
        assert rows.tolist() == expected.tolist()
        np.testing.assert_allclose(distances, expected_distances)


def test_more_than_a_filter_keeps_gives_all_that_it_keeps(index, queries):
    keep = np.zeros(COUNT, bool)
    keep[[5, 900, 17]] = True

    assert sorted(index.search(queries[0], 10, keep).rows.tolist()) == [5, 17, 900]
    assert index.search(queries[:2], 10, keep).rows.shape == (2, 3)


def test_a_filter_that_keeps_nothing_gives_nothing(index, queries):
    assert index.search(queries[0], 5, np.zeros(COUNT, bool)).rows.shape == (0,)
    assert index.search(queries[:2], 5, []).distances.shape == (2, 0)


def test_a_row_that_a_filter_names_twice_is_given_once(index, matrix):
    assert index.search(matrix[3], 5, [9, 3, 3, 9]).rows.tolist() == [3, 9]


@pytest.mark.parametrize(
    "told", [{9, 3, 2000}, [2000, 9, 3], np.uint64([3, 9, 2000]), np.int16([2000, 3, 9, 3])]
)
def test_rows_that_are_kept_may_be_told_in_any_order_and_type(index, matrix, told):
    assert index.search(matrix[3], 1, told).rows.tolist() == [3]
    assert sorted(index.search(matrix[3], 5, told).rows.tolist()) == [3, 9, 2000]


@pytest.mark.parametrize("count", [30, 2000])
def test_many_rows_are_kept_as_few_are(count):
    told = np.random.default_rng(0).integers(COUNT, size=count)

    assert index_search.kept_rows(told, COUNT).tolist() == sorted(set(told.tolist()))


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (np.ones(COUNT - 1, bool), "shape \\(2999,\\); expected bool of shape \\(3000,\\)"),
        ([0, COUNT], "rows 0 to 3,000; expected 0 to 2,999"),
        ([-1], "rows -1 to -1"),
        ([0.5], "a filter of float64"),
        (np.ones((2, COUNT), bool), "a filter of bool"),
        (np.empty(0, bool), "a filter of bool, shape \\(0,\\)"),
        (np.ones(COUNT, np.uint8), "uint8.* may be a mask or rows; expected a mask as bool"),
        ({0.5, 1.0}, "a filter of float64"),
        (np.array([2**64 - 1], np.uint64), "rows 18,446,744,073,709,551,615"),
    ],
)
def test_refuses_what_is_no_filter_of_its_rows(index, queries, keep, message):
    with pytest.raises(ValueError, match=message):
        index.search(queries[0], 5, keep)


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_how_far_it_looks_travels_in_the_file(kind, matrix):
    vectors = build(kind, hold([matrix]))
    vectors.look(list(efforts(vectors))[3])

    again = Vectors.read(vectors.write())

    assert (again.kind, again.settings) == (kind, vectors.settings)
    assert again.settings != build(kind, hold([matrix])).settings


def test_comes_back_from_bytes_with_the_same_answers_and_bytes(index, queries):
    again = Index.from_bytes(*index.to_bytes())

    for found, expected in zip(again.search(queries, 10), index.search(queries, 10), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert again.to_bytes() == index.to_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_parts_give_the_bytes_of_the_whole(kind, matrix):
    parts = [matrix[start : start + 700] for start in range(0, COUNT, 700)]

    whole = build(kind, hold([matrix]), part_rows=COUNT)
    merged = build(kind, hold(parts), part_rows=700)

    assert whole.write() == merged.write()


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_threads_does_not_change_the_bytes(kind, matrix):
    made = []
    before = faiss.omp_get_max_threads()
    for threads in (1, 4):
        faiss.omp_set_num_threads(threads)
        try:
            made.append(build(kind, hold([matrix])).write())
        finally:
            faiss.omp_set_num_threads(before)

    assert made[0] == made[1]


@pytest.mark.parametrize("kind", ["ivf_sq8", "ivf_rabitq"])
def test_another_seed_gives_other_clusters(kind, matrix):
    made = [build(kind, hold([matrix]), seed=seed).write() for seed in (0, 1)]

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
            rows = index_search.nearest(vectors, query[np.newaxis], 10)[0][0]
        assert rows.tolist() == brute_force(matrix[:count], query, 10)[0].tolist()


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_of_no_vectors_only_flat_can_be_built(kind):
    empty = hold([np.empty((0, 4), np.float32)])

    assert len(build("flat", empty)) == 0
    with pytest.raises(ValueError, match=f"no vectors; expected some for .* {kind}"):
        build(kind, empty)


@pytest.mark.parametrize("part", [np.zeros((2, 5)), np.zeros(4), np.full((1, 4), np.inf)])
def test_refuses_a_part_that_does_not_fit(part):
    with pytest.raises(ValueError, match="expected \\(n, 4\\), all finite"):
        hold([np.zeros((3, 4), np.float32), part.astype(np.float32)])


def test_refuses_no_part_at_all():
    with pytest.raises(ValueError, match="no part of embeddings; expected one"):
        hold([])


@pytest.mark.parametrize("rows", [0, 900, 1000, 1100])
def test_room_that_was_made_does_not_change_what_is_held(rows, matrix):
    held = hold([matrix[:600], matrix[600:1000]], rows)

    np.testing.assert_array_equal(Vectors(held).matrix, matrix[:1000])
    assert Vectors(held).write() == Vectors(hold([matrix[:1000]])).write()


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_looking_further_finds_no_less(kind, matrix, queries):
    vectors = build(kind, hold([matrix]))
    expected = [set(brute_force(matrix, query, 10)[0]) for query in queries]
    found = []
    for effort in efforts(vectors):
        vectors.look(effort)
        rows = index_search.nearest(vectors, queries, 10)[0]
        found.append(sum(len(set(a) & b) for a, b in zip(rows, expected, strict=True)))

    assert found[0] <= found[-1] == 10 * len(queries)
    # A graph of so few finds all at once, among the many that it has compared exactly.
    assert found[0] < found[-1] or kind == "hnsw"


@pytest.mark.parametrize("k", [100, 250])
@pytest.mark.parametrize("kind", APPROXIMATE)
def test_a_setting_that_was_chosen_for_ten_finds_as_much_of_many_more(kind, k, matrix, queries):
    vectors = build(kind, hold([matrix]))
    choosing = drawn(5, 300)
    expected = [brute_force(matrix, query, 10)[0] for query in choosing]
    for effort in efforts(vectors):
        vectors.look(effort)
        if share_found(vectors, choosing, 10, expected) >= 0.995:
            break

    assert effort != list(efforts(vectors))[-1]
    expected = [brute_force(matrix, query, k)[0] for query in queries]
    assert share_found(vectors, queries, k, expected) >= 0.985


def share_found(vectors, queries, k, expected):
    rows = index_search.nearest(vectors, queries, k)[0]
    return np.mean([len(set(a) & set(b)) / k for a, b in zip(rows, expected, strict=True)])


def test_clusters_are_as_many_as_can_be_trained_on():
    for count in (1, 63, 64, 1000, 100_000, 1_000_000):
        assert index_building.clusters(count) * index_building.TRAINED_ON <= max(64, count)


@pytest.fixture(scope="module")
def leaning():
    """Vectors of 64 numbers that lie mostly in the first few: a graph of them keeps fewer axes."""
    random = np.random.default_rng(11)
    spread = np.exp(-np.arange(64) / 6)
    return (random.normal(size=(4000, 64)) * spread + 3).astype(np.float32)


def test_a_graph_keeps_the_axes_that_the_vectors_lie_in(leaning, matrix):
    assert build("hnsw", hold([leaning])).settings["axes"] == 16
    assert build("hnsw", hold([matrix])).settings["axes"] == matrix.shape[1]


def test_a_graph_of_fewer_axes_gives_the_nearest_by_all_of_them(leaning):
    random = np.random.default_rng(12)
    queries = leaning[:100] + random.normal(scale=0.05, size=(100, 64)).astype(np.float32)
    vectors = build("hnsw", hold([leaning]))
    vectors.look({"efSearch": 128})
    opened = Vectors.read(vectors.write())

    rows, distances = index_search.nearest(opened, queries, 10)

    found = 0
    for place, query in enumerate(queries):
        expected, exact = brute_force(leaning, query, 10)
        found += len(set(rows[place]) & set(expected))
        np.testing.assert_allclose(distances[place][0], exact[0], rtol=1e-5)
    assert found >= 990


def test_a_graph_of_fewer_axes_looks_further_for_more(leaning):
    vectors = build("hnsw", hold([leaning]))
    vectors.look({"efSearch": 48})

    rows = index_search.nearest(vectors, leaning[:20], 150)[0]

    expected = [set(brute_force(leaning, query, 150)[0]) for query in leaning[:20]]
    assert sum(len(set(a) & b) for a, b in zip(rows, expected, strict=True)) > 0.98 * 20 * 150
