import pytest
from support.builders.stored_market import LABELS, PHOTO, PICTURE, SIDES, open_stored

from fb_marketplace.errors import UserError

WITH_WORDS = ("title", "short", "paraphrase", "both")


@pytest.fixture(scope="module")
def searched(stored_market, weighing):
    return {side: stored_market.searches(side, weighing) for side in SIDES}


def test_corpus_has_listings_and_photos_of_its_split(stored_market, market_tables, weighing):
    for side in SIDES:
        here = market_tables.splits[market_tables.splits["split"] == side]

        found = stored_market.gallery(side, weighing).searched

        assert list(found.catalogue.product_ids) == sorted(here["product_id"].unique())
        assert sorted(found.photos.image_ids) == sorted(here["image_id"].dropna())
        assert (found.photos.dimension, found.pictures.dimension) == (PHOTO, PICTURE)
        assert len(found.texts) == found.words.documents == len(found.catalogue)


def test_groups_do_not_cross_splits(stored_market, searched, market_tables, weighing):
    """Whatever is asked for a listing, of its group it finds those of the split, and of others none."""
    group = dict(
        zip(market_tables.splits["product_id"], market_tables.splits["group"], strict=True)
    )
    side_of = dict(zip(market_tables.splits["group"], market_tables.splits["split"], strict=True))
    for side, found in searched.items():
        ids = stored_market.gallery(side, weighing).searched.catalogue.product_ids
        assert found
        for each in found:
            assert side_of[each.asked.group] == side
            assert group[each.asked.product_id] == each.asked.group
            assert {side_of[group[ids[at]]] for at in each.pool.positions} == {side}


def test_hidden_photos_are_excluded(stored_market, searched, market_tables, weighing):
    copies = market_tables.duplicate_groups.groupby("group")["image_id"].agg(set).tolist()
    asked_of_copies = 0
    for side, found in searched.items():
        image_ids = stored_market.gallery(side, weighing).searched.photos.image_ids
        for each in (each for each in found if each.asked.image_id is not None):
            hidden = {each.asked.image_id}
            hidden |= set().union(*(some for some in copies if hidden & some))
            asked_of_copies += len(hidden) > 1

            shown = {image_ids[row] for row in each.pool.row if row >= 0}

            assert shown
            assert not shown & hidden
    assert asked_of_copies


def test_queried_listing_is_findable_without_the_photo(searched):
    for found in searched.values():
        for each in found:
            assert each.available[3] == 1
            assert each.asked.kind in WITH_WORDS or (each.grades == 3).sum() == 1


def test_text_to_image_index_has_photos_of_the_corpus(stored_market):
    assert (
        set(stored_market.pictures.ids)
        == set(stored_market.photos.ids)
        == set(stored_market.photo_products)
    )
    assert stored_market.labels == tuple(LABELS)
    assert stored_market.probabilities.matrix.shape == (len(stored_market.photos.ids), len(LABELS))


def test_split_without_photos_is_rejected(market_tables, tmp_path, weighing):
    splits = market_tables.splits.copy()
    splits.loc[splits["split"] == "test", "image_id"] = None
    market = open_stored(tmp_path, market_tables._replace(splits=splits))

    with pytest.raises(UserError, match=r"\b24\b.*\btest\b.*photo"):
        market.gallery("test", weighing)
