"""Understanding of queries by the words of listings."""

import pytest
from support.builders.small_market import count_words

from fb_marketplace_serving.search.listings.listing import Listing
from fb_marketplace_serving.search.query.understanding import QueryUnderstanding


@pytest.fixture(scope="module")
def queries(gazetteer):
    shop = [
        ("Boxing gloves", "Sport / Boxing"),
        ("Box of toys", "Kids / Toys"),
        ("Toys in a box", "Kids / Toys"),
        ("Storage box", "Home / Storage"),
    ]
    listings = [
        Listing(str(number), title, 1.0, "GBP", path.split(" / ")[0], path, "Leeds", None)
        for number, (title, path) in enumerate(shop)
    ]
    # Listings may come in any order; the index is sorted by id.
    return QueryUnderstanding(listings[::-1], count_words([row[0] for row in shop]), gazetteer)


def meanings(queries, text, **options):
    parsed = queries.understand(text, **options).parsed
    return [(phrase.kind, phrase.text, phrase.value) for phrase in parsed.phrases]


def test_category_of_most_listings_with_its_words_is_labelled(queries):
    assert meanings(queries, "wooden toy") == [("category", "toy", "Kids / Toys")]
    assert meanings(queries, "box") == []


def test_town_is_found_after_correction(queries):
    understood = queries.understand("toys in Leedss")

    assert (understood.text, understood.parsed.words) == ("toys in leeds", "toys")
    assert understood.parsed.place == ("Leeds", 25.0)


def test_town_with_unknown_county_is_not_taken_with_it(queries):
    assert queries.understand("toys in Leeds, storage").parsed.words == "toys storage"


def test_only_near_me_is_a_place_if_one_is_chosen(queries):
    assert queries.understand("toys in Leeds", has_place=True).parsed.place is None
    assert queries.understand("toys near me", has_place=True).parsed.place == (None, 25.0)


def test_ignored_spelling_is_not_corrected(queries):
    assert queries.understand("storrage", frozenset({"spelling"})).text == "storrage"
    assert queries.understand("storrage").text == "storage"
