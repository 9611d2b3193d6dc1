import numpy as np
import pandas as pd
import pytest
from support.builders import tiny_text_encoder as tiny
from support.builders.small_market import facts, listing, unit

from fb_marketplace.pipelines.ranking.judged_candidates import first_grades, judge_candidates
from fb_marketplace.pipelines.ranking.search_corpus import QueryEncoder, SearchCorpus
from fb_marketplace.pipelines.ranking.synthetic_queries import SearchQuery, make_queries
from fb_marketplace.storage.vectors import VectorTable
from fb_marketplace_serving.encoders.text import TextEncoder
from fb_marketplace_serving.search.candidates import collect_candidates
from fb_marketplace_serving.search.ranking.ranking_features import FEATURES, compute_features

LABELS = ("Home", "Sport")
SIZE, TEXT_TO_IMAGE_SIZE = 4, 5

ROWS = [  # listing, family, title, path, photos
    ("p", "f", "red chair", "Home / Chairs", ["p1", "p2"]),
    ("q", "f", "red chair", "Home / Chairs", ["q1"]),
    ("r", "r", "oak chair", "Home / Chairs", []),
    ("s", "s", "red lamp", "Home / Lamps", ["s1"]),
    ("t", "t", "old bike", "Sport", ["t1", "t2", "t3"]),
]

SHOWN = dict(
    zip(
        ["t3", "s1", "p2", "z1", "q1", "t1", "p1", "t2"],
        unit(np.random.default_rng(1), 8, TEXT_TO_IMAGE_SIZE),
        strict=True,
    )
)
"""Vectors of pictures, in an order of their own."""


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder.from_bytes(
        tiny.graph(text_to_image_size=TEXT_TO_IMAGE_SIZE), tiny.tokenizer()
    )


@pytest.fixture(scope="module")
def market(encoder, weighing):
    """A gallery of five listings, of which two show the same thing, who asks it, and all searches."""
    names, families, titles, paths, photos = map(list, zip(*ROWS, strict=True))
    products = pd.DataFrame({"product_id": names, "title": titles, "description": ""})
    owner = {image: name for name, images in zip(names, photos, strict=True) for image in images}
    random = np.random.default_rng(0)
    drawn = random.normal(size=(len(owner), SIZE))
    embeddings = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    embeddings[2] = embeddings[0]  # q shows a copy of p's photo
    vectors = VectorTable(tuple(owner), embeddings)
    probabilities = random.dirichlet([1, 1], len(owner)).astype(np.float32)
    gallery = SearchCorpus(
        products.iloc[::-1],
        {name: listing(name, 5.0, path) for name, path in zip(names, paths, strict=True)},
        facts([*names, "z"], [*families, "f"]),
        vectors,
        VectorTable(tuple(SHOWN), np.stack(list(SHOWN.values()))),
        owner | {"z1": "z"},
        VectorTable(tuple(names), encoder.encode(titles).text_embedding),
        weighing,
    )
    splits = pd.DataFrame(
        [(image, name, families[names.index(name)], "test") for image, name in owner.items()]
        + [(None, "r", "r", "test")],
        columns=["image_id", "product_id", "group", "split"],
    )
    copies = pd.DataFrame({"image_id": ["p1", "q1"], "group": ["p1", "p1"]})
    asker = QueryEncoder(encoder, vectors, VectorTable(tuple(owner), probabilities))
    return gallery, asker, make_queries(products, splits, copies, "test")


@pytest.fixture(scope="module")
def judged(market):
    gallery, asker, searches = market
    return judge_candidates(gallery, asker, searches, LABELS)


def source(judged, kind, product):
    (one,) = [item for item in judged if item.query[:2] == (kind, product)]
    return one


def test_each_query_is_judged_once_in_order(market, judged):
    assert [item.query for item in judged] == market[2]


def test_candidates_and_features_equal_those_of_server(market, judged):
    gallery, asker, _ = market
    for item in judged:
        query = asker.encode(item.query)
        rows = gallery.rows_without(item.query.hidden)

        pool = collect_candidates(gallery.indexes, query, row_mask=rows)

        assert item.candidates.positions.tolist() == pool.positions.tolist()
        np.testing.assert_array_equal(
            item.features,
            compute_features(pool, query, gallery.indexes.listings, LABELS, row_mask=rows),
        )


def test_best_candidates_are_those_by_fused_score(market, judged):
    gallery, asker, searches = market
    limited = judge_candidates(gallery, asker, searches, LABELS, max_candidates=2)

    for full, best in zip(judged, limited, strict=True):
        order = np.lexsort((full.candidates.positions, -full.candidates.fused))
        rows = np.sort(order[:2])
        np.testing.assert_array_equal(best.features, full.features[rows])
        assert best.candidates.positions.tolist() == full.candidates.positions[rows].tolist()
        assert best.candidates.fused.tolist() == full.candidates.fused[rows].tolist()
        assert best.grades.tolist() == full.grades[rows].tolist()
        assert best.available.tolist() == full.available.tolist()
    assert any(len(item.candidates) > 2 for item in judged)


def test_grade_is_of_relation_to_the_listing(market, judged):
    ids = market[0].indexes.listings.product_ids
    for product, grades in {
        "p": {"p": 3, "q": 3, "r": 2, "s": 1, "t": 0},
        "s": {"p": 1, "q": 1, "r": 1, "s": 3, "t": 0},
        "t": {"p": 0, "q": 0, "r": 0, "s": 0, "t": 3},
    }.items():
        one = source(judged, "title", product)

        output = zip(one.candidates.positions, one.grades, strict=True)
        assert {ids[pos]: grade for pos, grade in output} == {
            ids[pos]: grades[ids[pos]] for pos in one.candidates.positions
        }
        assert len(one.candidates) == 5  # by meaning all are found


def test_unfound_relevant_listings_are_graded(market):
    gallery, _, _ = market

    grades = {
        product: gallery.grades(SearchQuery("title", product, "", "", None, frozenset())).tolist()
        for product in "pqrst"
    }

    assert grades == {
        "p": [3, 3, 2, 1, 0],
        "q": [3, 3, 2, 1, 0],
        "r": [2, 2, 3, 1, 0],
        "s": [1, 1, 1, 3, 0],
        "t": [0, 0, 0, 0, 3],
    }


def test_relevant_counts_are_of_the_families(judged):
    assert source(judged, "title", "p").available.tolist() == [1, 1, 1, 1]
    assert source(judged, "title", "s").available.tolist() == [1, 2, 0, 1]
    assert source(judged, "title", "t").available.tolist() == [3, 0, 0, 1]


def test_query_photo_and_copies_are_excluded(market, judged):
    gallery = market[0]
    one = source(judged, "photo", "p")
    assert one.query.hidden == {"p1", "q1"}

    visible = {gallery.indexes.image.image_ids[row] for row in one.candidates.row if row >= 0}

    assert "p2" in visible
    assert not visible & one.query.hidden
    assert gallery.indexes.listings.position("q") not in one.candidates.positions


def test_hidden_photos_are_not_counted(market, judged):
    one = source(judged, "both", "p")
    counts = dict(
        zip(
            one.candidates.positions.tolist(),
            one.features[:, FEATURES.index("photos")],
            strict=True,
        )
    )

    assert counts == {0: 1, 1: 0, 2: 0, 3: 1, 4: 3}


def test_text_query_has_no_photo_and_vice_versa(market):
    _, asker, searches = market
    for params in searches:
        query = asker.encode(params)
        assert (query.photo is not None) == (params.kind in ("photo", "both"))
        assert (query.photo_categories is not None) == (params.kind in ("photo", "both"))
        assert bool(query.words) == (params.kind != "photo")
        assert (
            (query.text_embedding is not None)
            == (query.text_to_image_embedding is not None)
            == bool(query.words)
        )


def test_only_text_and_photo_of_listing_are_used(market):
    _, asker, searches = market
    for params in searches:
        other = SearchQuery(params.kind, "x", "y", params.words, params.image_id, frozenset())

        for one, same in zip(asker.encode(params), asker.encode(other), strict=True):
            np.testing.assert_array_equal(one, same)


def test_image_vectors_are_in_row_order(market):
    searched = market[0].indexes

    assert searched.text_to_image.image_ids == searched.image.image_ids
    rows = searched.text_to_image.vectors(np.arange(len(searched.text_to_image)))
    assert rows.tolist() == [SHOWN[name].tolist() for name in searched.image.image_ids]


def test_corpus_without_hidden_photos_has_no_filter(market):
    assert market[0].rows_without(frozenset()) is None
    assert market[0].rows_without(frozenset({"p2", "of another split"})).sum() == 6


def test_first_hits_are_best_of_their_families(judged):
    one = source(judged, "title", "p")  # grades 3 3 2 1 0, the first two of one family
    scores = np.array([1.0, 5.0, 4.0, 3.0, 3.0])

    assert first_grades(scores, one, 3).tolist() == [3, 2, 1]
    assert first_grades(-scores, one, 10).tolist() == [3, 1, 0, 2, *[0] * 6]
    assert first_grades(-scores, one, 1).tolist() == [3]


def test_only_counted_candidates_are_hits(judged):
    one = source(judged, "title", "p")
    counted = np.array([False, False, True, False, True])

    assert first_grades(np.arange(5.0), one, 3, counted).tolist() == [0, 2, 0]
    assert first_grades(np.arange(5.0), one, 2, np.zeros(5, np.bool_)).tolist() == [0, 0]
