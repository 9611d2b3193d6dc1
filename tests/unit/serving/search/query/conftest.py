"""Parts of a query's understanding in a shop of some words."""

import math

import pytest
from support.builders.small_market import count_words

from fb_marketplace_serving.search.listings.gazetteer import Gazetteer, Row, fold_name
from fb_marketplace_serving.search.listings.listing import Listing
from fb_marketplace_serving.search.query.vocabulary import Vocabulary

TITLES = {
    "Oak bookcase": 30,
    "Oak table lamp": 20,
    "Red armchair": 10,
    "iPhone 12 phone case": 5,
    "Comfortable book": 4,
    "Bookcsae": 1,
}


@pytest.fixture(scope="session")
def listings():
    titles = [title for title, count in TITLES.items() for _ in range(count)]
    return [
        Listing(str(number), title, 1.0, "GBP", "Home", "Home / Chairs & Tables", "Leeds", None)
        for number, title in enumerate(titles)
    ]


@pytest.fixture(scope="session")
def vocabulary(listings):
    vocabulary = Vocabulary.from_listings(listings)
    return vocabulary._replace(paths=vocabulary.paths | {"Gadgets": 1})


@pytest.fixture(scope="session")
def bm25(listings):
    return count_words([f"{listing.title} velvet" for listing in listings])


@pytest.fixture(scope="session")
def gazetteer():
    towns = {"Leeds": 500, "Leek": 20, "Milton Keynes": 200, "Lichfield": 30}
    rows = [
        Row(name, fold_name(name), 52.0, -1.0, people, False, math.nan, False)
        for name, people in towns.items()
    ]
    return Gazetteer(list(zip(*rows, strict=True)))
