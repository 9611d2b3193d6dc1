from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from support.builders.small_market import (
    LABELS,
    TEXT_SIZE,
    WORDS,
    bands_of,
    count_words,
    draw_filter,
    draw_query,
    facts,
    listing,
    make_market,
    passes,
    roots_of,
)

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.search import results as results_module
from fb_marketplace_serving.search.candidates import QueryVectors, SearchIndexes
from fb_marketplace_serving.search.engine import DIVERSITY_DEPTH, SearchEngine
from fb_marketplace_serving.search.listings.filters import GeoFilter, SearchFilters
from fb_marketplace_serving.search.listings.listing_store import ListingStore
from fb_marketplace_serving.search.ranking.ranker import Ranker
from fb_marketplace_serving.search.results import Hit

EVERYTHING_DEEP = 10_000
LEEDS = (53.80, -1.55)


@pytest.fixture(scope="module")
def ranker(ranker_model):
    return Ranker.from_bytes(ranker_model)


@pytest.fixture(scope="module")
def searcher(market, ranker):
    return SearchEngine(market.searched, ranker, LABELS)


@pytest.fixture(scope="module")
def thousand(market):
    """A thousand filters with the positions of passing listings, from the tables alone."""
    random = np.random.default_rng(0)
    filters = [draw_filter(random) for _ in range(1000)]
    every = range(len(market.catalogue))
    return [(params, [pos for pos in every if passes(market, pos, params)]) for params in filters]


def positions_of(ranked):
    """All listings that were found, those that are folded too."""
    return [pos for hit in ranked.hits for pos in (hit.position, *hit.duplicates)]


def leaders(ranked):
    return [hit.position for hit in ranked.hits]


def agree(market, ranked, expected):
    """Compare hits and their explanations with the expected listings."""
    result = positions_of(ranked)
    assert sorted(result) == expected
    assert ranked.total_listings == len(expected)
    assert {item.path: item.count for item in ranked.facets.categories} == roots_of(market, result)
    assert [item.count for item in ranked.facets.prices] == bands_of(market, result)


def test_filter_without_query_returns_all_matches(market, searcher, thousand):
    for params, expected in thousand:
        ranked = searcher.search(None, params)

        if params.categories:
            assert sorted(positions_of(ranked)) == expected
        else:
            agree(market, ranked, expected)


def test_filter_with_query_returns_all_reachable_matches(market, searcher, thousand):
    random = np.random.default_rng(1)
    with_photo = market.catalogue.photo_count > 0
    for params, passing in thousand:
        query = draw_query(random)
        if random.random() < 0.3:
            query = query._replace(text_embedding=None)

        ranked = searcher.search(query, params, top_k=EVERYTHING_DEEP)

        scores = market.searched.bm25.scores(query.words)
        by_meaning = query.text_embedding is not None
        expected = [pos for pos in passing if by_meaning or scores[pos] > 0 or with_photo[pos]]
        if params.categories:
            assert sorted(positions_of(ranked)) == expected
        else:
            agree(market, ranked, expected)


def test_hits_of_small_sources_satisfy_filter(searcher, thousand):
    random = np.random.default_rng(2)
    for params, passing in thousand[:200]:
        query = draw_query(random)

        ranked = searcher.search(query, params, top_k=3)

        result = positions_of(ranked)
        assert set(result) <= set(passing)
        if query.text_embedding is not None:
            assert len(result) >= min(3, len(passing))


def test_filter_loses_no_matching_hit(market, searcher):
    """Filtered listings are searched as deep as without others."""
    random = np.random.default_rng(3)
    dear = SearchFilters(min_price=300)
    for _ in range(50):
        ranked = searcher.search(draw_query(random, "words"), dear, top_k=10)

        assert ranked.total_listings >= 10


def test_base_and_parts_sum_to_score(searcher):
    random = np.random.default_rng(4)
    hits = 0
    while hits < 1000:
        params = draw_filter(random)._replace(categories=())
        ranked = searcher.search(draw_query(random), params, top_k=30)
        if not ranked.hits:
            continue
        base, parts = searcher.contributions(ranked.features)
        for hit in random.permutation(np.array(ranked.hits, dtype=object))[:20]:
            place, score = int(hit[1]), float(hit[2])
            assert abs(base + parts[place].sum() - score) < 1e-6
            hits += 1


def test_hit_has_rank_among_candidates(market, searcher):
    random = np.random.default_rng(5)
    for _ in range(20):
        ranked = searcher.search(draw_query(random))

        for hit in ranked.hits:
            assert ranked.candidates.positions[hit.candidate] == hit.position
            assert ranked.candidates.row[hit.candidate] == hit.row
        scores = Ranker.scores(searcher._ranker, ranked.features)
        assert [hit.score for hit in ranked.hits] == [scores[hit.candidate] for hit in ranked.hits]


def test_family_is_one_hit_led_by_its_best_listing(market, searcher):
    random = np.random.default_rng(6)
    family = market.catalogue.features.family
    folded = 0
    for diversity in (0.0, 0.4, 1.0):
        for _ in range(20):
            ranked = searcher.search(draw_query(random), diversity=diversity)
            scores = dict(
                zip(
                    ranked.candidates.positions.tolist(),
                    searcher._ranker.scores(ranked.features),
                    strict=True,
                )
            )

            families = [family[hit.position] for hit in ranked.hits]
            assert len(set(families)) == len(families)
            for hit in ranked.hits:
                members = [hit.position, *hit.duplicates]
                assert {family[pos] for pos in members} == {family[hit.position]}
                assert members == sorted(members, key=lambda pos: (-scores[pos], pos))
                folded += len(hit.duplicates)
            assert len(positions_of(ranked)) == ranked.total_listings == len(ranked.candidates)
    assert folded > 100


def test_hits_are_sorted_by_score_then_position(searcher):
    random = np.random.default_rng(7)
    for _ in range(20):
        ranked = searcher.search(draw_query(random))

        output = [(-hit.score, hit.position) for hit in ranked.hits]
        assert output == sorted(output)


@pytest.mark.parametrize("query", [None, draw_query(np.random.default_rng(8), "both")])
@pytest.mark.parametrize("sort", ["newest", "price_asc", "price_desc", "distance"])
def test_missing_values_are_sorted_last(market, searcher, sort, query):
    near = GeoFilter(*LEEDS)
    number = market.catalogue.price
    if sort == "distance":
        number = market.catalogue.distances(near)
    elif sort == "newest":
        number = market.catalogue.created_at
    sign = -1 if sort in ("price_desc", "newest") else 1

    ranked = searcher.search(query, SearchFilters(location=near), sort)

    def key(pos, score):
        missing = np.isnan(number[pos])
        return (missing, 0 if missing else sign * number[pos], -score, pos)

    output = [key(hit.position, hit.score) for hit in ranked.hits]
    assert output == sorted(output)
    assert {missing for missing, *_ in output} == {False, True}
    if query is not None:
        scores = searcher._ranker.scores(ranked.features)[
            np.searchsorted(ranked.candidates.positions, np.arange(len(number)))
            % len(ranked.candidates)
        ]
        for hit in ranked.hits:
            members = [hit.position, *hit.duplicates]
            assert members == sorted(members, key=lambda pos: key(pos, scores[pos]))


def test_sort_returns_the_hits_of_best(searcher):
    query = draw_query(np.random.default_rng(9), "both")
    params = SearchFilters(location=GeoFilter(*LEEDS))

    best = searcher.search(query, params)

    for sort in ("newest", "price_asc", "price_desc", "distance"):
        other = searcher.search(query, params, sort)
        assert sorted(positions_of(other)) == sorted(positions_of(best))
        assert other.facets == best.facets


def test_best_without_query_is_position_order(market, searcher):
    ranked = searcher.search(None)

    assert leaders(ranked) == sorted(leaders(ranked))
    assert {(hit.candidate, hit.score) for hit in ranked.hits} == {(-1, 0.0)}
    assert ranked.candidates is None
    assert ranked.features is None


def test_hit_without_query_shows_first_photo(market, searcher):
    for hit in searcher.search(None).hits:
        rows = market.catalogue.rows_of(hit.position).tolist()
        assert hit.row == (rows[0] if rows else -1)


@pytest.mark.parametrize("diversity", [0.0, 0.3])
@pytest.mark.parametrize("sort", ["relevance", "newest", "price_asc", "distance"])
@pytest.mark.parametrize("kind", [None, "words", "photo", "both"])
def test_pages_partition_the_hits(searcher, kind, sort, diversity):
    query = kind and draw_query(np.random.default_rng(10), kind)
    params = SearchFilters(location=GeoFilter(*LEEDS), min_price=1)
    complete = list(searcher.search(query, params, sort, diversity).hits)

    pages = [
        searcher.search(query, params, sort, diversity).hits[start : start + 7]
        for start in range(0, len(complete), 7)
    ]

    assert [hit for page in pages for hit in page] == complete
    assert len({hit.position for hit in complete}) == len(complete)


def test_search_is_deterministic_across_threads(market, ranker, searcher):
    random = np.random.default_rng(11)
    params = [(draw_query(random), draw_filter(random)) for _ in range(40)]
    once = [list(searcher.search(*item, diversity=0.2).hits) for item in params]
    again = SearchEngine(make_market().searched, ranker, LABELS)

    with ThreadPoolExecutor(4) as pool:
        for searching in (searcher, again):
            result = pool.map(
                lambda item, owner=searching: list(owner.search(*item, diversity=0.2).hits), params
            )
            assert list(result) == once


def likeness(market, ranked):
    vectors = market.searched.text.vectors(np.array(leaders(ranked)))
    return vectors @ vectors.T


def test_diversity_0_keeps_ranker_order(searcher):
    query = draw_query(np.random.default_rng(12), "words")

    assert searcher.search(query, diversity=0.0).hits[:] == searcher.search(query).hits[:]


@pytest.mark.parametrize("diversity", [0.2, 0.7, 1.0])
def test_diversity_follows_mmr(market, searcher, diversity):
    random = np.random.default_rng(13)
    for _ in range(10):
        query = draw_query(random)
        plain, spread_out = searcher.search(query), searcher.search(query, diversity=diversity)

        first = plain.hits[:DIVERSITY_DEPTH]
        scores = np.array([hit.score for hit in first])
        worth = (scores - scores.min()) / np.ptp(scores)
        similar = likeness(market, plain)
        order = []
        while len(order) < len(first):
            left = [place for place in range(len(first)) if place not in order]
            order.append(
                max(
                    left,
                    key=lambda place: (
                        (1 - diversity) * worth[place]
                        - diversity * max([0, *(similar[place, other] for other in order)]),
                        -place,
                    ),
                )
            )
        assert (
            spread_out.hits[:] == [first[place] for place in order] + plain.hits[DIVERSITY_DEPTH:]
        )
        assert spread_out.hits[0] == plain.hits[0]
        assert spread_out.facets == plain.facets


def test_only_hits_that_are_read_are_built(searcher, monkeypatch):
    built = []

    def build(*values):
        built.append(values[0])
        return Hit(*values)

    hits = searcher.search(None).hits
    everything = hits[:]
    monkeypatch.setattr(results_module, "Hit", build)

    page = searcher.search(None).hits[20:30]

    assert page == everything[20:30]
    assert len(built) == 10
    assert hits[-1] == everything[-1]


def test_diversity_1_puts_dissimilar_hit_second():
    """Of five listings the second best says the same as the best: then it stands last."""
    ids = list("pqrst")
    texts = np.eye(5, TEXT_SIZE, dtype=np.float32)
    texts[1] = texts[0]
    index = Index.build_flat(np.empty((0, 4), np.float32), [], [])
    catalogue = ListingStore(index, {item: listing(item, 1.0) for item in ids}, facts(ids))
    words = count_words(["oak", "oak and", "oak and a", "oak and a b", "oak and a b c"])
    searched = SearchIndexes(catalogue, index, index, Index.build_flat(texts, ids, ids), words)

    class ByWords:
        def scores(self, features):
            return features[:, 0]

    searching = SearchEngine(searched, ByWords(), LABELS)

    assert leaders(searching.search(QueryVectors(words="oak"))) == [0, 1, 2, 3, 4]
    assert leaders(searching.search(QueryVectors(words="oak"), diversity=1.0)) == [0, 2, 3, 4, 1]
    assert leaders(searching.search(QueryVectors(words="oak"), diversity=0.5)) == [0, 2, 3, 4, 1]
    assert leaders(searching.search(QueryVectors(words="oak"), diversity=0.1)) == [0, 1, 2, 3, 4]


def test_diversity_applies_to_best_hits_only(searcher):
    query = draw_query(np.random.default_rng(14), "both")

    assert (
        searcher.search(query, sort="price_asc", diversity=1.0).hits[:]
        == (searcher.search(query, sort="price_asc").hits[:])
    )


@pytest.mark.parametrize(
    "query",
    [None, *(draw_query(np.random.default_rng(15), kind) for kind in ("words", "photo", "both"))],
)
@pytest.mark.parametrize("diversity", [0.0, 0.5])
def test_empty_filter_returns_nothing(searcher, query, diversity):
    ranked = searcher.search(query, SearchFilters(min_price=1e9), diversity=diversity)

    assert (ranked.hits[:], ranked.total_listings, ranked.facets.categories) == ([], 0, [])


def test_unknown_words_return_nothing(searcher):
    assert searcher.search(QueryVectors(words="zebra"), diversity=0.5).hits[:] == []


def test_sort_by_distance_requires_place(searcher):
    for query in (None, QueryVectors(words=WORDS[0])):
        with pytest.raises(ValueError, match="distance"):
            searcher.search(query, sort="distance")


def test_unknown_category_is_rejected(searcher):
    with pytest.raises(KeyError):
        searcher.search(None, SearchFilters(categories=("Gardens",)))


def test_both_stages_are_timed(searcher):
    timed = []

    @contextmanager
    def timing(stage):
        timed.append(stage)
        yield
        timed.append(f"{stage} done")

    searcher.search(QueryVectors(words="oak"), timer=timing)

    assert timed == ["retrieve", "retrieve done", "rank", "rank done"]


@pytest.mark.parametrize("sort", ["price_asc", "price_desc"])
def test_jokes_and_absurd_prices_come_last(ranker, sort):
    flags = {
        "a": (5.0, None),
        "b": (1.0, "joke"),
        "c": (9e6, "absurd"),
        "d": (0.0, "zero"),
        "e": (7.0, None),
    }
    listings = {
        name: listing(name, price)._replace(price_flag=flag)
        for name, (price, flag) in flags.items()
    }
    store = ListingStore(Index.empty(), listings, facts(list(flags)))
    empty = Index.empty()
    engine = SearchEngine(
        SearchIndexes(store, empty, empty, empty, count_words(["chair"] * 5)), ranker, LABELS
    )

    order = [store.product_ids[place] for place in leaders(engine.search(None, sort=sort))]

    plausible = ["d", "a", "e"] if sort == "price_asc" else ["e", "a", "d"]
    assert order == [*plausible, "b", "c"]
