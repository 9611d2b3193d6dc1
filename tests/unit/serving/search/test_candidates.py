import numpy as np
import pytest
from support.builders.small_market import (
    PHOTO_SIZE,
    PICTURE_SIZE,
    TEXT_SIZE,
    WORDS,
    count_words,
    draw_query,
    facts,
    listing,
)

from fb_marketplace.ann.vector_tables import write_vector_table
from fb_marketplace.parameters.release import SearchParameters
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.ann.vector_table import VectorTable
from fb_marketplace_serving.interpreter_lock import INTERPRETER
from fb_marketplace_serving.search import candidates as candidates_module
from fb_marketplace_serving.search.bm25 import BM25Index
from fb_marketplace_serving.search.candidates import (
    RRF_K,
    QueryVectors,
    SearchIndexes,
    collect_candidates,
)
from fb_marketplace_serving.search.listings.listing_store import ListingStore


def likeness(index, query):
    """Cosines with all that an index holds, as doubles."""
    separate = index.vectors(np.arange(len(index))).astype(np.float64) - query
    return 1 - (separate**2).sum(axis=1) / 2


def likeness_of_photos(searched, query):
    """Cosines of all photos with what is asked of them, by source; by both it is the mean."""
    similar = {}
    if query.text_to_image_embedding is not None:
        similar["text_to_image"] = likeness(searched.text_to_image, query.text_to_image_embedding)
    if query.photo is not None:
        similar["image"] = likeness(searched.image, query.photo)
    if len(similar) > 1:
        similar["multimodal"] = (similar["text_to_image"] + similar["image"]) / 2
    return similar


def found_by_hand(searched, query, listings, rows, depth):
    """Each source's listings, best first, and how like each listing is: by going through everything."""
    owner = searched.listings.listing_of_row
    order, similar, best_row = {}, {}, {}
    if query.words:
        similar["bm25"] = searched.bm25.scores(query.words)
        present = [pos for pos in np.flatnonzero(listings) if similar["bm25"][pos] > 0]
        order["bm25"] = sorted(present, key=lambda pos: (-similar["bm25"][pos], pos))
    if query.text_embedding is not None:
        similar["text"] = likeness(searched.text, query.text_embedding)
        order["text"] = sorted(
            np.flatnonzero(listings), key=lambda pos: (-similar["text"][pos], pos)
        )
    for source, cosines in likeness_of_photos(searched, query).items():
        best_row = {}
        for row in sorted(np.flatnonzero(rows), key=lambda row: (-cosines[row], row)):
            best_row.setdefault(owner[row], row)
        similar[source] = np.array(
            [
                cosines[best_row[pos]] if pos in best_row else np.nan
                for pos in range(len(searched.listings))
            ]
        )
        order[source] = list(best_row)
    if "multimodal" in order:
        seen = {pos for source in ("text_to_image", "image") for pos in order[source][:depth]}
        order["multimodal"] = sorted(seen, key=lambda pos: (-similar["multimodal"][pos], pos))
    return order, similar, best_row


@pytest.mark.parametrize("depth", [1, 7, 60, 1000])
def test_candidates_equal_exhaustive_search(market, depth):
    random = np.random.default_rng(depth)
    searched = market.searched
    for _ in range(60):
        query = draw_query(random)
        listings = random.random(len(searched.listings)) < random.choice([0.02, 0.5, 1])
        rows = listings[searched.listings.listing_of_row]
        rows &= random.random(len(rows)) < random.choice([0.5, 1])

        pool = collect_candidates(searched, query, listings, rows, depth)

        order, similar, best_row = found_by_hand(searched, query, listings, rows, depth)
        expected = {pos for places in order.values() for pos in places[:depth]}
        if query.words and "image" in order:
            in_title = searched.bm25.match(query.words).title > 0
            expected |= set([pos for pos in order["image"] if in_title[pos]][:depth])
        expected = sorted(expected)
        assert pool.positions.tolist() == expected
        assert pool.rank.keys() == pool.similarity.keys() == order.keys()
        fused = np.zeros(len(pool))
        for source, places in order.items():
            rank = {pos: place + 1 for place, pos in enumerate(places[:depth])}
            assert pool.rank[source].tolist() == [rank.get(pos, 0) for pos in expected], source
            np.testing.assert_allclose(
                pool.similarity[source], similar[source][expected], atol=1e-6
            )
            fused += [1 / (RRF_K + rank[pos]) if pos in rank else 0 for pos in expected]
        np.testing.assert_allclose(pool.fused, fused)
        assert pool.row.tolist() == [best_row.get(pos, -1) for pos in expected]


def test_no_filter_allows_every_listing(market):
    random = np.random.default_rng(0)
    every = np.ones(len(market.catalogue), np.bool_)
    for _ in range(20):
        query = draw_query(random)

        free, remaining = (
            collect_candidates(market.searched, query, mask) for mask in (None, every)
        )

        assert free.positions.tolist() == remaining.positions.tolist()
        assert free.row.tolist() == remaining.row.tolist()


def test_photos_of_filtered_listings_are_not_shown(market):
    random = np.random.default_rng(1)
    for _ in range(20):
        listings = random.random(len(market.catalogue)) < 0.2

        pool = collect_candidates(market.searched, draw_query(random), listings)

        assert listings[pool.positions].all()
        present = pool.row >= 0
        np.testing.assert_array_equal(
            market.catalogue.listing_of_row[pool.row[present]], pool.positions[present]
        )


def test_hidden_photos_are_neither_found_nor_shown(market):
    random = np.random.default_rng(2)
    for _ in range(20):
        query = draw_query(random, "both")
        seen = collect_candidates(market.searched, query)
        hidden = seen.row[seen.row >= 0]
        rows = np.ones(len(market.searched.image), np.bool_)
        rows[hidden] = False

        pool = collect_candidates(market.searched, query, row_mask=rows, top_k=1000)

        assert not set(pool.row.tolist()) & set(hidden.tolist())
        left = np.bincount(market.catalogue.listing_of_row[rows], minlength=len(market.catalogue))[
            pool.positions
        ]
        for source in ("text_to_image", "image", "multimodal"):
            assert np.isnan(pool.similarity[source]).tolist() == (left == 0).tolist()
            assert (pool.rank[source] > 0).tolist() == (left > 0).tolist()


@pytest.fixture
def small():
    """Three listings: p with three photos, q with one, r with none; q's text and p's are the same."""
    ids = ["p", "q", "r"]
    index, pictures = (
        Index.build_flat(np.eye(4, size, dtype=np.float32), list("abcd"), ["p", "q", "p", "p"])
        for size in (PHOTO_SIZE, PICTURE_SIZE)
    )
    texts = Index.build_flat(np.eye(3, TEXT_SIZE, dtype=np.float32), ids, ids)
    catalogue = ListingStore(index, {item: listing(item) for item in ids}, facts(ids))
    return SearchIndexes(
        catalogue, index, pictures, texts, count_words(["red chair", "red chair", "lamp"])
    )


def direction(size, *numbers):
    vector = np.zeros(size, np.float32)
    vector[: len(numbers)] = numbers
    return vector / np.linalg.norm(vector)


def test_text_query_shows_first_photo(small):
    pool = collect_candidates(small, QueryVectors(words="chairs"))

    assert pool.positions.tolist() == [0, 1]
    assert pool.row.tolist() == [0, 1]


def test_ties_by_score_are_in_position_order(small):
    assert collect_candidates(small, QueryVectors(words="red")).rank["bm25"].tolist() == [1, 2]
    assert collect_candidates(small, QueryVectors(words="red"), top_k=1).positions.tolist() == [0]


def test_equally_similar_photos_are_in_row_order(small):
    pool = collect_candidates(small, QueryVectors(photo=direction(PHOTO_SIZE, 1, 1, 1)))

    assert pool.rank["image"].tolist() == [1, 2]
    assert pool.row.tolist() == [0, 1]


def test_many_photos_of_one_listing_crowd_out_none(small):
    pool = collect_candidates(small, QueryVectors(photo=direction(PHOTO_SIZE, 3, 1, 3, 3)), top_k=2)

    assert pool.rank["image"].tolist() == [1, 2]


@pytest.mark.parametrize("photos", [5, 40])
def test_limit_counts_listings_rather_than_photos(photos):
    """All of the first listing's are nearer than any of the five others, each of which has one."""
    ids = list("pqrstu")
    owners = ["p"] * photos + ids[1:]
    away = np.linspace(0, 1, len(owners))
    vectors = np.stack([direction(PHOTO_SIZE, np.cos(turn), np.sin(turn)) for turn in away])
    index = Index.build_flat(vectors, [f"i{row}" for row in range(len(owners))], owners)
    catalogue = ListingStore(index, {item: listing(item) for item in ids}, facts(ids))
    texts = Index.build_flat(np.eye(6, TEXT_SIZE, dtype=np.float32), ids, ids)
    searched = SearchIndexes(catalogue, index, index, texts, count_words([""] * 6))

    for depth in range(1, 7):
        pool = collect_candidates(searched, QueryVectors(photo=vectors[0]), top_k=depth)

        assert pool.rank["image"].tolist() == list(range(1, depth + 1))
        assert pool.positions.tolist() == list(range(depth))


def test_photos_read_from_table_are_bounded(tmp_path, monkeypatch):
    """All nearest photos are of one listing."""
    ids, owners = ["p", "q"], ["p"] * 300 + ["q"]
    turns = np.linspace(0, 1, len(owners))
    vectors = np.stack([direction(PHOTO_SIZE, np.cos(turn), np.sin(turn)) for turn in turns])
    flat = Index.build_flat(vectors, owners, owners)
    version = write_vector_table(
        str(tmp_path / "t"), flat.source, SearchParameters(engine="lance", min_indexed_vectors=256)
    )
    table = Index(VectorTable.open(str(tmp_path / "t"), version, 0), owners, owners)
    texts = Index.build_flat(np.eye(2, TEXT_SIZE, dtype=np.float32), ids, ids)
    catalogue = ListingStore(flat, {item: listing(item) for item in ids}, facts(ids))
    monkeypatch.setattr("fb_marketplace_serving.ann.index.MAX_TABLE_ROWS", 10)
    monkeypatch.setattr("fb_marketplace_serving.ann.vector_table.EXACT_ROWS", 20)

    def positions(photos):
        indexes = SearchIndexes(catalogue, photos, photos, texts, count_words(["", ""]))
        pool = collect_candidates(indexes, QueryVectors(photo=vectors[0]), top_k=2)
        return pool.positions.tolist()

    assert positions(flat) == [0, 1]
    assert positions(table) == [0]


def test_shown_photo_is_most_similar_to_query(small):
    words = QueryVectors(
        words="chair", text_to_image_embedding=direction(PICTURE_SIZE, 10, 0, 0, 9)
    )
    photo = QueryVectors(photo=direction(PHOTO_SIZE, 0, 0, 10, 9))

    assert collect_candidates(small, words).row[0] == 0
    assert collect_candidates(small, photo).row[0] == 2
    assert collect_candidates(small, words._replace(photo=photo.photo)).row[0] == 3


def test_listing_without_photos_has_no_similarity(small):
    pool = collect_candidates(small, QueryVectors(words="lamp", photo=direction(PHOTO_SIZE, 1)))

    assert pool.positions.tolist() == [0, 1, 2]
    assert np.isnan(pool.similarity["image"]).tolist() == [False, False, True]
    assert pool.rank["image"].tolist() == [1, 2, 0]
    assert pool.row[2] == -1


def test_photo_finds_listings_with_the_words_in_the_title(market):
    """Photos nearest to the query's are of other things; words are in the titles of many others."""
    searched = market.searched
    photo = searched.image.vectors(np.array([0]))[0]
    query = QueryVectors(words="red", photo=photo)
    in_title = np.flatnonzero(searched.bm25.match("red").title)

    pool = collect_candidates(searched, query, top_k=3)

    ranked = set(np.flatnonzero((pool.rank["bm25"] > 0) | (pool.rank["image"] > 0)).tolist())
    added = [row for row in range(len(pool)) if row not in ranked]
    assert added
    assert set(pool.positions[added]) <= set(in_title)
    assert (pool.fused[added] == 0).all()
    rest = np.setdiff1d(in_title, pool.positions)
    similarity = collect_candidates(searched, query, top_k=len(in_title)).similarity["image"]
    everyone = collect_candidates(searched, query, top_k=len(in_title)).positions
    others = similarity[np.isin(everyone, rest)]
    assert pool.similarity["image"][added].min() >= np.nanmax(others)


def test_unknown_words_search_by_meaning_only(small):
    pool = collect_candidates(
        small, QueryVectors(words="wardrobe", text_embedding=direction(TEXT_SIZE, 0, 2, 1))
    )

    assert pool.rank["bm25"].tolist() == [0, 0, 0]
    assert pool.rank["text"].tolist() == [3, 1, 2]


def test_empty_filter_gives_no_candidates(small):
    query = draw_query(np.random.default_rng(0), "both")

    pool = collect_candidates(small, query, np.zeros(3, np.bool_))

    assert len(pool) == len(pool.row) == len(pool.fused) == 0
    assert {len(item) for item in pool.similarity.values()} == {0}


def test_photo_query_on_empty_image_index(small):
    none, no_pictures = (
        Index.build_flat(np.empty((0, size), np.float32), [], [])
        for size in (PHOTO_SIZE, PICTURE_SIZE)
    )
    ids = small.listings.product_ids
    catalogue = ListingStore(none, {item: listing(item) for item in ids}, facts(ids))

    pool = collect_candidates(
        small._replace(listings=catalogue, image=none, text_to_image=no_pictures),
        QueryVectors(
            words=WORDS[0], photo=direction(PHOTO_SIZE, 1), text_embedding=direction(TEXT_SIZE, 1)
        ),
    )

    assert pool.positions.tolist() == [0, 1, 2]
    assert np.isnan(pool.similarity["image"]).all()
    assert pool.row.tolist() == [-1, -1, -1]


def test_empty_query_is_rejected(small):
    with pytest.raises(ValueError, match=r"(?i)query"):
        collect_candidates(small, QueryVectors())


def test_text_and_photo_rank_by_mean_cosine_of_one_photo(small):
    """Of p one photo is as the words say and another like the photo asked; q's one is nearly both."""
    query = QueryVectors(
        text_to_image_embedding=direction(PICTURE_SIZE, 10, 9),
        photo=direction(PHOTO_SIZE, 0, 9, 10, 0),
    )

    pool = collect_candidates(small, query)

    assert pool.rank["text_to_image"].tolist() == pool.rank["image"].tolist() == [1, 2]
    assert pool.rank["multimodal"].tolist() == [2, 1]
    in_all = np.hypot(9, 10)
    np.testing.assert_allclose(pool.similarity["multimodal"], [5 / in_all, 9 / in_all], atol=1e-6)


@pytest.mark.parametrize(("depth", "result"), [(1, ["p", "q"]), (2, ["p", "q", "u"])])
def test_text_and_photo_rank_only_found_candidates(depth, result):
    """Listings of a photo each; u is second by the words and by the photo, and the first by both."""
    ids = list("pqrstu")
    pos = np.eye(6, dtype=np.float32)
    photos = Index.build_flat(pos, ids, ids)
    pictures = Index.build_flat(pos[[1, 0, 2, 3, 4, 5]], ids, ids)
    catalogue = ListingStore(photos, {item: listing(item) for item in ids}, facts(ids))
    searched = SearchIndexes(catalogue, photos, pictures, photos, count_words(ids))
    params = direction(6, 10, 0, 0, 0, 0, 9)

    pool = collect_candidates(
        searched, QueryVectors(text_to_image_embedding=params, photo=params), top_k=depth
    )

    assert [ids[place] for place in pool.positions] == result
    by_both = np.argsort(
        np.where(pool.rank["multimodal"], pool.rank["multimodal"], 99), kind="stable"
    )
    first = [result[place] for place in by_both[:depth]]
    assert first == {1: ["p"], 2: ["u", "p"]}[depth]


@pytest.mark.parametrize("is_free_before", [False, True])
@pytest.mark.parametrize(("minimum", "expected"), [(1, [False, False, True]), (5, [True] * 3)])
def test_lock_is_free_while_vectors_of_many_listings_are_compared(
    small, monkeypatch, minimum, expected, is_free_before
):
    is_locked = []

    def note(function):
        def noting(*args, **kwargs):
            is_locked.append(INTERPRETER._lock.locked())
            return function(*args, **kwargs)

        return noting

    monkeypatch.setattr(candidates_module, "MIN_RELEASED_LISTINGS", minimum)
    monkeypatch.setattr(Index, "nearest", note(Index.nearest))
    monkeypatch.setattr(BM25Index, "match", note(BM25Index.match))
    query = QueryVectors("lamp", direction(TEXT_SIZE, 1), direction(PICTURE_SIZE, 1))

    with INTERPRETER.hold():
        if is_free_before:
            INTERPRETER.release()
        collect_candidates(small, query)

    assert is_locked == expected
