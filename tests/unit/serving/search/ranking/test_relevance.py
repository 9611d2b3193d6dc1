"""Relevance of all listings, against one listing at a time."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support.builders.small_market import LABELS, draw_filter, draw_query, make_market
from support.builders.small_search import relevance_model

from fb_marketplace_serving.search.candidates import QueryVectors, collect_candidates
from fb_marketplace_serving.search.engine import SearchEngine
from fb_marketplace_serving.search.listings.filters import SearchFilters
from fb_marketplace_serving.search.ranking import relevance
from fb_marketplace_serving.search.ranking.ranker import Ranker
from fb_marketplace_serving.search.ranking.ranking_features import compute_features
from fb_marketplace_serving.search.ranking.relevance import (
    RELEVANCE_FEATURES,
    Relevance,
    RelevanceError,
    RelevanceFeatures,
    RelevanceModel,
)

SORTS = ("relevance", "newest", "price_asc", "price_desc", "distance")


@pytest.fixture(scope="module")
def small():
    return make_market(count=300, seed=3)


@pytest.fixture(scope="module")
def model():
    return RelevanceModel.from_bytes(relevance_model(0.5))


@pytest.fixture(scope="module")
def ranker(ranker_model):
    return Ranker.from_bytes(ranker_model)


@pytest.fixture(scope="module")
def engine(small, ranker, model):
    return SearchEngine(small.searched, ranker, LABELS, model)


def queries(count, seed=0):
    random = np.random.default_rng(seed)
    return [(draw_query(random), draw_filter(random)) for _ in range(count)]


def features_of(market, query, mask=None):
    candidates = collect_candidates(market.searched, query, mask, top_k=20)
    return RelevanceFeatures(market.searched, query, candidates, LABELS)


@pytest.mark.parametrize("max_table", [0, 2**20])
def test_groups_have_the_features_of_each_listing_alone(small, monkeypatch, max_table):
    monkeypatch.setattr(relevance, "MAX_TABLE", max_table)
    for query, filters in queries(60):
        features = features_of(small, query, small.catalogue.mask(filters))
        others = np.setdiff1d(np.arange(len(small.catalogue)), features.candidates)

        rows, group = features.grouped_matrix(others, features.terms_of(others))

        listed = np.concatenate([features.candidates, others])
        np.testing.assert_array_equal(rows[group], features.matrix(listed))
        silent = others[features.terms_of(others) == 0]
        rows, group = features.without_terms()
        np.testing.assert_array_equal(
            rows[group][small.catalogue.path[silent]], features.matrix(silent)
        )


def test_listings_of_very_many_groups_keep_their_own(small):
    query = QueryVectors("oak")
    candidates = collect_candidates(small.searched, query, top_k=20)
    group = np.array([2**28], np.int32)
    shares = np.zeros(2**28 + 1, np.float32)  # takes no memory where it is not written
    shares[-1] = 0.5
    matches = candidates.matches._replace(
        documents=np.array([0]), group=group, title_of_group=shares, text_of_group=shares
    )
    _, terms = matches.of(candidates.positions)
    features = RelevanceFeatures(
        small.searched, query, replace(candidates, matches=matches, terms=terms), LABELS
    )
    others = np.array([0, 1])

    rows, number = features.grouped_matrix(others, features.terms_of(others))

    np.testing.assert_array_equal(rows[number[-2:]], features.matrix(others))


def test_equal_listings_are_computed_once(small):
    texts = [query for query, _ in queries(30) if query.photo is None]
    assert texts
    for query in texts:
        features = features_of(small, query)
        others = np.setdiff1d(np.arange(len(small.catalogue)), features.candidates)
        rows, _ = features.grouped_matrix(others, features.terms_of(others))
        assert len(rows) < len(small.catalogue) / 2


def test_empty_market_has_no_relevant_listings(model):
    features = features_of(make_market(count=0), QueryVectors(words="red lamp"))

    chosen, others = Relevance(model, features).at_least(0.5, None)

    assert len(chosen) == len(others) == 0


@pytest.mark.parametrize("minimum", [0.02, 0.3, 1.0])
def test_probabilities_after_a_search_are_those_before(small, model, minimum):
    positions = np.random.default_rng(3).permutation(len(small.catalogue))
    for query, filters in queries(40, seed=3):
        relevance = Relevance(model, features_of(small, query))
        before = relevance.probabilities(positions)

        relevance.at_least(minimum, small.catalogue.mask(filters))

        np.testing.assert_allclose(relevance.probabilities(positions), before, rtol=1e-12)


def test_own_vote_does_not_count(small):
    query = QueryVectors(photo=small.searched.image.vectors(np.array([0]))[0])
    candidates = collect_candidates(small.searched, query, top_k=1)
    (position,) = candidates.positions

    features = RelevanceFeatures(small.searched, query, candidates, LABELS)

    voted = RELEVANCE_FEATURES.index("voted_path")
    assert features.matrix(np.array([position]))[0, voted] == 0
    same_path = np.flatnonzero(small.catalogue.path == small.catalogue.path[position])
    others = same_path[same_path != position]
    assert (features.matrix(others)[:, voted] == 1).all()


@pytest.mark.parametrize("threshold", [0.02, 0.3])
@pytest.mark.parametrize("sort", SORTS)
def test_results_equal_brute_force_in_every_order(small, engine, ranker, model, sort, threshold):
    store = small.catalogue
    for query, filters in queries(40, seed=1):
        if sort == "distance" and filters.location is None:
            continue
        mask = store.mask(filters)
        candidates = collect_candidates(small.searched, query, mask)
        alone = RelevanceFeatures(small.searched, query, candidates, LABELS)
        probabilities = model.probabilities(alone.matrix(np.arange(len(store))))
        features = compute_features(candidates, query, store, LABELS, filters.location)
        scores = dict(
            zip(candidates.positions.tolist(), ranker.scores(features).tolist(), strict=True)
        )
        values = store.created_at if sort == "newest" else store.meant_price
        if sort == "distance":
            values = store.distances(filters.location)
        passing = {}
        for position in range(len(store)):
            probability = probabilities[position]
            if probability >= threshold and (mask is None or mask[position]):
                value = 0.0 if sort == "relevance" else values[position]
                value = -value if sort in {"newest", "price_desc"} else value
                best = (0, -scores[position]) if position in scores else (1, -probability)
                passing[position] = (np.isnan(value), 0 if np.isnan(value) else value, *best)
        families: dict[int, list[int]] = {}
        for position in sorted(passing, key=lambda position: (*passing[position], position)):
            families.setdefault(store.features.family[position], []).append(position)

        results = engine.search(query, filters, sort, min_relevance=threshold)

        assert [[hit.position, *hit.duplicates] for hit in results.hits] == list(families.values())
        assert [hit.score for hit in results.hits] == pytest.approx(
            [scores.get(first, np.nan) for first, *_ in families.values()], nan_ok=True
        )
        assert results.total_listings == len(passing)


def test_threshold_changes_neither_scores_nor_order(engine):
    for query, filters in queries(40, seed=2):
        free = engine.search(query, filters, min_relevance=0.0)
        strict = engine.search(query, filters, min_relevance=0.3)

        scores = {hit.position: hit.score for hit in free.hits}
        shared = [hit for hit in strict.hits if hit.position in scores]
        assert [hit.score for hit in shared] == [scores[hit.position] for hit in shared]
        order = [hit.position for hit in free.hits]
        places = [order.index(hit.position) for hit in shared]
        assert places == sorted(places)


def test_default_threshold_is_for_words_only(engine):
    words = next(query for query, _ in queries(50) if query.words and query.photo is None)
    photo = next(query for query, _ in queries(50) if not query.words)

    assert engine.search(words).min_relevance == 0.5
    assert engine.search(photo).min_relevance == 0.0
    assert engine.search(photo, min_relevance=0.2).min_relevance == 0.2


def test_photo_and_words_without_relevant_listings_return_candidates(small, ranker):
    """As the photo alone would. The given threshold holds, and so does that of words."""
    strict = RelevanceModel.from_bytes(relevance_model(1.0))
    engine = SearchEngine(small.searched, ranker, LABELS, strict)
    both = next(query for query, _ in queries(50) if query.words and query.photo is not None)

    results = engine.search(both)

    assert results.min_relevance == 0.0
    assert results.total_listings == len(results.candidates)
    assert engine.search(both, min_relevance=1.0).hits[:] == []
    assert engine.search(both.without_photo()).hits[:] == []


def test_nothing_relevant_is_said_with_the_nearest_category(small, engine):
    query = next(query for query, _ in queries(50) if query.words)

    results = engine.search(query, min_relevance=1.0)

    assert (results.hits[:], results.total_listings) == ([], 0)
    votes = features_of(small, query).nearest_path
    assert results.nearest_category in {None, votes[0]}
    assert engine.search(query, SearchFilters(min_price=1e12)).nearest_category is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"threshold": 2, "trees": ""}',
        b'{"threshold": 0.5, "trees": "tree"}',
        b"[1]",
        json.dumps({"threshold": "x", "trees": ""}).encode(),
    ],
)
def test_damaged_model_is_rejected(content):
    with pytest.raises(RelevanceError, match=r"^found "):
        RelevanceModel.from_bytes(content)


def test_model_of_other_features_is_rejected(ranker_model):
    data = json.dumps({"threshold": 0.5, "trees": ranker_model.decode()}).encode()

    with pytest.raises(RelevanceError, match="title_share"):
        RelevanceModel.from_bytes(data)
