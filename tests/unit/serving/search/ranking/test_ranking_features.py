from dataclasses import replace

import numpy as np
import pytest
from support.builders.small_market import (
    LABELS,
    PHOTO_SIZE,
    draw_query,
    facts,
    listing,
)

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.search.bm25 import TermMatches
from fb_marketplace_serving.search.candidates import (
    SOURCES,
    CandidateSet,
    QueryVectors,
    collect_candidates,
)
from fb_marketplace_serving.search.listings.filters import GeoFilter
from fb_marketplace_serving.search.listings.listing_store import ListingStore
from fb_marketplace_serving.search.ranking.ranking_features import (
    COMPOSED_FEATURES,
    DESCRIPTIONS,
    FEATURES,
    FEEDBACK_DOCS,
    compute_features,
)

LEEDS = (53.80, -1.55)


@pytest.fixture
def catalogue():
    """Five listings, of which s is no candidate below."""
    listings = {
        "p": listing("p", 10.0, "Home / Chairs"),
        "q": listing("q", 40.0, "Home / Lamps"),
        "r": listing("r", None, "Arts"),
        "s": listing("s", 999.0, "Sport"),
        "t": listing("t", 0.0, "Home / Chairs"),
    }
    index = Index.build_flat(np.eye(3, PHOTO_SIZE, dtype=np.float32), list("abc"), ["p", "r", "p"])
    nowhere = (np.nan, np.nan)
    known = facts(
        list(listings),
        places=[LEEDS, (53.96, -1.08), nowhere, LEEDS, nowhere],
        description_words=[12, 0, 7, 1, 3],
        photo_pixels=[3_000_000, 0, 500_000, 0, 0],
        age_days=[0.5, np.nan, 0.0, 1.0, 400.0],
    )
    return ListingStore(index, listings, known)


POOL = CandidateSet(
    positions=np.array([0, 1, 2, 4]),
    similarity={
        "bm25": np.array([4, 0, 1, 2], np.float32),
        "image": np.array([0.5, np.nan, 0.25, np.nan], np.float32),
    },
    rank={"bm25": np.array([1, 0, 3, 2], np.int32), "image": np.array([1, 0, 2, 0], np.int32)},
    fused=np.array([0.4, 0.1, 0.3, 0.2]),
    row=np.array([0, -1, 1, -1]),
    matches=TermMatches(
        np.array([0, 2, 4]),
        np.array([4, 1, 2], np.float32),
        np.array([1, 2, 3], np.int32),
        np.array([0, 1, 0, 0.25], np.float32),
        np.array([0, 1, 0.5, 0.25], np.float32),
        unknown=0.0,
        terms=3,
        total=5,
    ),
    terms=np.array([1, 0, 2, 3], np.int32),
)

QUERY = QueryVectors(words="two red chairs", photo_categories=np.array([0.2, 0.7, 0.1], np.float32))


def feature_values(pool, query, catalogue, near=None):
    table = compute_features(pool, query, catalogue, LABELS, near)
    assert table.shape == (len(pool), len(FEATURES))
    assert table.dtype == np.float64
    return dict(zip(FEATURES, table.T, strict=True))


def test_each_feature_matches_its_name(catalogue):
    result = feature_values(POOL, QUERY, catalogue, GeoFilter(*LEEDS))

    nothing = [np.nan] * 4
    middle = 25.0  # of the prices 10 and 40: none and nothing are no prices
    expected = {
        "bm25_similarity": [4, 0, 1, 2],
        "image_similarity": [0.5, np.nan, 0.25, np.nan],
        "bm25_reciprocal_rank": [1, 0, 1 / 3, 1 / 2],
        "image_reciprocal_rank": [1, 0, 1 / 2, 0],
        "bm25_share_of_best": [1, 0, 0.25, 0.5],
        "title_share": [1, 0, 0, 0.25],
        "fused": [0.4, 0.1, 0.3, 0.2],
        # The listings of similar photos, the first and the third, have other paths; own votes do not count.
        "photo_path": [0, 0, 0, (1 / 61) / (1 / 61 + 1 / 62)],
        "image_similarity_gap": [0, np.nan, -0.25, np.nan],
        "photo_category": [0.7, 0.7, 0.2, 0.7],
        "voted_category": [(0.1 + 0.2) / 0.6, (0.4 + 0.2) / 0.9, 0, (0.4 + 0.1) / 0.8],
        "voted_path": [0.2 / 0.6, 0, 0, 0.4 / 0.8],
        # Own votes do not count: the votes of the ranks are 1/2, 1/4 and 1/3, or 1/2 and 1/3.
        "bm25_voted_category": [
            (1 / 3) / (1 / 4 + 1 / 3),
            (1 / 2 + 1 / 3) / (1 / 2 + 1 / 4 + 1 / 3),
            0,
            (1 / 2) / (1 / 2 + 1 / 4),
        ],
        "image_voted_category": [0, 0.6, 0, 0.6],
        "bm25_voted_path": [(1 / 3) / (1 / 4 + 1 / 3), 0, 0, (1 / 2) / (1 / 2 + 1 / 4)],
        "image_voted_path": [0, 0, 0, (1 / 2) / (1 / 2 + 1 / 3)],
        "price_ratio": [np.log(10 / middle), np.log(40 / middle), np.nan, np.nan],
        "has_price": [1, 1, 0, 1],
        "distance_km": [0, 35.6, np.nan, np.nan],
        "photos": [2, 0, 1, 0],
        "photo_megapixels": [3, 0, 0.5, 0],
        "description_words": [12, 0, 7, 3],
        "age_days": [0.5, np.nan, 0, 400],
        "query_words": [3, 3, 3, 3],
    }
    for source in ("text", "text_to_image", "multimodal"):
        expected |= {f"{source}_similarity": nothing, f"{source}_reciprocal_rank": nothing}
        expected |= {f"{source}_voted_category": nothing, f"{source}_voted_path": nothing}
    assert expected.keys() == set(FEATURES)
    for name in FEATURES:
        np.testing.assert_allclose(result[name], expected[name], atol=0.3 if "km" in name else 1e-6)


def test_unused_query_parts_give_missing_features(catalogue):
    pool = replace(POOL, similarity={}, rank={}, matches=None)

    result = feature_values(pool, QueryVectors(), catalogue)

    params = [*(f"{source}_similarity" for source in SOURCES), "bm25_share_of_best"]
    params += [
        *(f"{source}_reciprocal_rank" for source in SOURCES),
        *COMPOSED_FEATURES,
        "photo_category",
        "distance_km",
    ]
    for name in params:
        assert np.isnan(result[name]).all(), name
    assert (result["query_words"] == 0).all()


def test_ignored_photos_are_not_counted(catalogue):
    rows = np.array([False, True, True])

    result = compute_features(POOL, QUERY, catalogue, LABELS, row_mask=rows)

    assert result[:, FEATURES.index("photos")].tolist() == [1, 0, 1, 0]


def test_category_excluded_by_photo_is_improbable(catalogue):
    query = QueryVectors(photo_categories=np.array([1.0], np.float32))

    result = compute_features(POOL, query, catalogue, ("Arts",))[
        :, FEATURES.index("photo_category")
    ]

    assert result.tolist() == [0, 0, 1, 0]


def test_lone_candidate_votes_for_itself(catalogue):
    pool = CandidateSet(
        np.array([0]),
        {"bm25": np.array([1], np.float32)},
        {"bm25": np.array([1], np.int32)},
        np.array([1 / 61]),
        np.array([0]),
    )

    result = feature_values(pool, QueryVectors(words="chair"), catalogue)

    assert (result["voted_category"], result["voted_path"], result["price_ratio"]) == (0, 0, 0)


def test_only_top_candidates_vote(market):
    random = np.random.default_rng(0)
    query = draw_query(random)
    pool = collect_candidates(market.searched, query)
    assert len(pool) > 3 * FEEDBACK_DOCS
    first = np.argsort(-pool.fused, kind="stable")[:FEEDBACK_DOCS]
    pos = pool.positions

    result = feature_values(pool, query, market.catalogue)

    roots = market.catalogue.root[pos]
    for place in range(len(pool)):
        others = [voter for voter in first if voter != place]
        similar = [voter for voter in others if roots[voter] == roots[place]]
        share = pool.fused[similar].sum() / pool.fused[others].sum()
        assert result["voted_category"][place] == pytest.approx(share)
    prices = market.catalogue.price[pos][first]
    middle = np.median(prices[prices > 0])
    priced = market.catalogue.price[pos] > 0
    np.testing.assert_allclose(
        result["price_ratio"][priced], np.log(market.catalogue.price[pos][priced] / middle)
    )
    assert np.isnan(result["price_ratio"][~priced]).all()


def test_no_prices_give_no_relative_price(catalogue):
    pool = CandidateSet(
        np.array([2, 4]),
        {},
        {},
        np.array([1.0, 1.0]),
        np.array([-1, -1]),
    )

    assert np.isnan(feature_values(pool, QueryVectors(), catalogue)["price_ratio"]).all()


def test_no_candidates_give_no_features(market):
    query = draw_query(np.random.default_rng(0), "both")
    pool = collect_candidates(market.searched, query, np.zeros(len(market.catalogue), np.bool_))

    result = compute_features(pool, query, market.catalogue, LABELS, GeoFilter(*LEEDS))

    assert result.shape == (0, len(FEATURES))


def test_product_id_does_not_affect_features(market):
    """Names and titles are no features: those of one order give what those of another give."""
    others = {product: f"z{product}" for product in market.listings}
    visible = {
        others[product]: item._replace(product_id=others[product], title="Another")
        for product, item in market.listings.items()
    }
    known, photos = market.catalogue.features, market.searched.image
    renamed = ListingStore(
        Index.build_flat(
            photos.vectors(np.arange(len(photos))),
            photos.image_ids,
            [others[item] for item in photos.product_ids],
        ),
        visible,
        facts(
            [others[item] for item in known.product_ids],
            [str(family) for family in known.family],
            list(zip(known.latitude, known.longitude, strict=True)),
            known.description_words.tolist(),
            known.photo_pixels.tolist(),
            known.age_days.tolist(),
        ),
    )
    random = np.random.default_rng(3)
    for _ in range(10):
        query = draw_query(random)
        pool = collect_candidates(market.searched, query)

        np.testing.assert_array_equal(
            compute_features(pool, query, renamed, LABELS),
            compute_features(pool, query, market.catalogue, LABELS),
        )


def test_only_buyer_input_of_query_is_used():
    assert QueryVectors._fields == (
        "words",
        "text_embedding",
        "text_to_image_embedding",
        "photo",
        "photo_categories",
    )


def test_each_feature_has_a_description():
    assert DESCRIPTIONS.keys() == set(FEATURES)
    assert len(set(FEATURES)) == len(FEATURES)
