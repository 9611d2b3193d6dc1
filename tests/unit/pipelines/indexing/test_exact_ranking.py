import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from fb_marketplace.evaluation.retrieval_metrics import DEPTH
from fb_marketplace.pipelines.indexing import exact_ranking
from fb_marketplace.pipelines.indexing.exact_ranking import exact_search, rank_all
from fb_marketplace.pipelines.indexing.gallery import Gallery
from fb_marketplace_serving.ann.index import Index


def circle(angles):
    """Points on a circle, by their angle in degrees: float32, (angles, 2)."""
    turned = np.radians(list(angles))
    return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)


def gallery(images, copies=()):
    """Photos named `listing.number`, all of one category; copies are sets of them."""
    names = {image: group[0] for group in copies for image in group}
    return Gallery(
        pd.DataFrame(
            {
                "image_id": list(images),
                "product_id": [image.partition(".")[0] for image in images],
                "category": "Home",
                "category_path": [f"Home / {image.partition('.')[0]}" for image in images],
                "copies": [names.get(image, image) for image in images],
            }
        )
    )


def params(angles, copies=()):
    return rank_all(circle(angles.values()), gallery(angles, copies))


def scattered(photos):
    """Photos of five listings, by angle, no two of them as far apart as two others."""
    angles = np.random.default_rng(0).uniform(0, 180, photos)
    return {f"{place % 5}.{place}": angle for place, angle in enumerate(angles)}


@pytest.fixture
def ask_index():
    """Asks an index of photos by angle for all of them, or for some places."""

    def ask(angles, copies=(), queries=None, index=None):
        vectors = circle(angles.values())
        places = np.arange(len(angles)) if queries is None else np.asarray(queries)
        index = index or Index.build_flat(vectors, list(angles), ["p"] * len(angles))
        return exact_search(index, gallery(angles, copies), places, vectors[places])

    return ask


def test_nearest_is_first():
    result = params({"a.1": 0, "a.2": 5, "b.1": 8})

    assert result.hits[:, :2].tolist() == [[3, 1], [1, 3], [1, 1]]


def test_ranks_beyond_gallery_are_unrelated():
    result = params({"a.1": 0, "a.2": 5})

    assert result.hits.tolist() == [[3] + [0] * 9] * 2


def test_query_and_copies_are_no_hits_and_not_relevant():
    result = params({"a.1": 0, "a.2": 50, "b.1": 1}, [("a.1", "b.1")])

    assert result.hits[0].tolist() == [3] + [0] * 9
    assert result.available[0].tolist() == [0, 0, 0, 1]


def test_average_precision_uses_all_ranks():
    others = {f"b{number}.1": 10 + number for number in range(19)}
    result = params({"a.1": 0, "a.2": 100} | others)

    assert result.average_precisions[0] == pytest.approx(1 / 20)
    assert np.isnan(result.average_precisions[2:]).all()


def test_blocks_of_queries_equal_one_block(monkeypatch):
    angles = scattered(30)
    complete = params(angles)

    monkeypatch.setattr(exact_ranking, "SIMILARITY_BATCH_SIZE", 100)

    in_blocks = params(angles)
    for result, expected in zip(in_blocks, complete, strict=True):
        np.testing.assert_array_equal(result, expected)


def test_sparse_vectors_rank_like_dense_ones():
    angles = scattered(30)
    sparse = rank_all(csr_array(circle(angles.values())), gallery(angles))

    assert np.array_equal(sparse.hits, params(angles).hits)


def test_index_ranking_equals_matrix_product(ask_index):
    angles = scattered(40)
    copies = [("0.0", "1.1", "2.2"), ("3.3", "4.4")]

    hits, ranking_ = ask_index(angles, copies)

    expected = params(angles, copies)
    assert np.array_equal(hits.grades, expected.hits)
    assert np.array_equal(ranking_.available, expected.available)


def test_copies_do_not_crowd_out_hits(ask_index):
    crowd = {f"c{number}.1": -number / 100 for number in range(1, 20)}
    angles = {"a.1": 0, "a.2": 50} | crowd

    hits, _ = ask_index(angles, [("a.1", *crowd)])

    assert hits.rows[0].tolist() == [1] + [-1] * 9


def test_hit_has_its_cosine(ask_index):
    hits, _ = ask_index({"a.1": 0, "a.2": 60})

    assert hits.similarities[:, 0] == pytest.approx([0.5, 0.5])


def test_subset_of_photos_can_be_queried(ask_index):
    hits, ranking_ = ask_index({"a.1": 0, "a.2": 5, "b.1": 8}, queries=[2])

    assert hits.rows[:, :2].tolist() == [[1, 0]]
    assert ranking_.available.tolist() == [[0, 2, 0, 0]]


def test_unfilled_index_rows_are_no_hits(ask_index):
    class Gives(Index):
        def search(self, query, k):
            result = super().search(query, k)
            result.rows[:, 1:] = -1
            return result

    angles = {"a.1": 0, "a.2": 5, "b.1": 8}
    index = Gives.build_flat(circle(angles.values()), list(angles), ["p"] * 3)

    hits, _ = ask_index(angles, index=index)

    assert (hits.rows == -1).all()
    assert (hits.grades == 0).all()


def test_queries_with_few_copies_are_searched_less_deeply(ask_index, monkeypatch):
    angles = scattered(60)
    crowd = list(angles)[20:]
    depths = {}
    search = Index.search

    def recorded(index, vectors, depth):
        depths[depth] = depths.get(depth, 0) + len(vectors)
        return search(index, vectors, depth)

    monkeypatch.setattr(Index, "search", recorded)
    hits, _ = ask_index(angles, [crowd])

    assert depths == {DEPTH + 1: 20, DEPTH + 40: 40}
    assert np.array_equal(hits.grades, params(angles, [crowd]).hits)
