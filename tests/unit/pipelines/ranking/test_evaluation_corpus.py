import pytest
from support.builders.stored_market import LABELS, PHOTO, PICTURE, SIDES, open_stored

from fb_marketplace.pipelines.ranking.composed_queries import COMPOSED
from fb_marketplace.skipping import InsufficientDataError

WITH_WORDS = ("title", "short", "paraphrase", "both")


@pytest.fixture(scope="module")
def searched(stored_market, weighing):
    return {side: stored_market.judge_queries(side, weighing, 1000, 0).all for side in SIDES}


def test_corpus_has_listings_and_photos_of_its_split(stored_market, market_tables, weighing):
    for side in SIDES:
        here = market_tables.splits[market_tables.splits["split"] == side]

        result = stored_market.corpus(side, weighing).indexes

        assert list(result.listings.product_ids) == sorted(here["product_id"].unique())
        assert sorted(result.image.image_ids) == sorted(here["image_id"].dropna())
        assert (result.image.dimension, result.text_to_image.dimension) == (PHOTO, PICTURE)
        assert len(result.text) == result.bm25.documents == len(result.listings)


def test_groups_do_not_cross_splits(stored_market, searched, market_tables, weighing):
    """Queries for a listing find only group members of the same split."""
    group = dict(
        zip(market_tables.splits["product_id"], market_tables.splits["group"], strict=True)
    )
    side_of = dict(zip(market_tables.splits["group"], market_tables.splits["split"], strict=True))
    for side, result in searched.items():
        ids = stored_market.corpus(side, weighing).indexes.listings.product_ids
        assert result
        for item in result:
            assert side_of[item.query.group] == side
            assert group[item.query.product_id] == item.query.group
            assert {side_of[group[ids[pos]]] for pos in item.candidates.positions} == {side}


def test_hidden_photos_are_excluded(stored_market, searched, market_tables, weighing):
    copies = market_tables.duplicate_groups.groupby("group")["image_id"].agg(set).tolist()
    asked_of_copies = 0
    for side, result in searched.items():
        image_ids = stored_market.corpus(side, weighing).indexes.image.image_ids
        for item in (item for item in result if item.query.image_id is not None):
            hidden = {item.query.image_id}
            hidden |= set().union(*(some for some in copies if hidden & some))
            asked_of_copies += len(hidden) > 1

            visible = {image_ids[row] for row in item.candidates.row if row >= 0}

            assert visible
            assert not visible & hidden
    assert asked_of_copies


def test_sold_listings_are_no_candidates(stored_market, searched, weighing):
    for side, result in searched.items():
        sold = stored_market.judge_queries(side, weighing, 1000, 0).sold
        store = stored_market.corpus(side, weighing).indexes.listings
        family = store.features.family

        assert {item.query for item in sold} < {item.query for item in result}
        assert {item.query.kind for item in sold} >= set(WITH_WORDS)
        for item in sold:
            own = family[store.position(item.query.product_id)]
            assert own not in item.families
            assert not (family[store.listing_of_row[item.candidates.row]] == own)[
                item.candidates.row >= 0
            ].any()
            assert item.available[-1] == 0 < item.available[1:].sum()
            assert item.grades.max(initial=0) <= 2


def test_queried_listing_is_findable_without_the_photo(searched):
    for result in searched.values():
        for item in result:
            if item.query.kind == COMPOSED:
                continue
            assert item.available[3] == 1
            assert item.query.kind in WITH_WORDS or (item.grades == 3).sum() == 1


def test_composed_queries_want_the_attribute_in_the_path(searched, market_tables):
    products = market_tables.products.set_index("product_id")
    splits = market_tables.splits.drop_duplicates("product_id").set_index("product_id")["split"]
    graded = 0
    for side, result in searched.items():
        ids = sorted(splits.index[splits == side])
        for item in result:
            if item.query.kind != COMPOSED:
                continue
            source = products.loc[item.query.product_id]
            for position, grade in zip(item.candidates.positions, item.grades, strict=True):
                other = products.loc[ids[position]]
                is_wanted = (
                    item.query.words in other["title"].split()
                    and other["category_path"] == source["category_path"]
                )
                assert (grade > 0) == is_wanted
                graded += is_wanted
    assert graded


def test_text_to_image_index_has_photos_of_the_corpus(stored_market):
    assert (
        set(stored_market.projected_photos.ids)
        == set(stored_market.photos.ids)
        == set(stored_market.photo_products)
    )
    assert stored_market.labels == tuple(LABELS)
    assert stored_market.probabilities.matrix.shape == (len(stored_market.photos.ids), len(LABELS))


def test_split_without_listings_is_insufficient(market_tables, tmp_path, weighing):
    splits = market_tables.splits[market_tables.splits["split"] != "test"]
    market = open_stored(tmp_path, market_tables._replace(splits=splits))

    with pytest.raises(InsufficientDataError, match=r"\btest\b"):
        market.corpus("test", weighing)
