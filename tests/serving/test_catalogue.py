import numpy as np
import pytest

from fb_marketplace_serving.catalogue import Catalogue
from fb_marketplace_serving.index import Index
from fb_marketplace_serving.listings import Listing


def listing(product, price, category):
    return Listing(product, "A chair", price, "GBP", category, category, None, None)


LISTINGS = {
    "p": listing("p", 10.0, "Home"),
    "q": listing("q", None, "Home"),
    "r": listing("r", 99.5, "Arts"),
}


@pytest.fixture
def catalogue():
    products = ["p", "q", "p", "r"]
    index = Index.build_flat(np.eye(4, 8, dtype=np.float32), list("abcd"), products)
    return Catalogue(index, [LISTINGS[product] for product in products])


def kept(catalogue, *told, **named):
    return np.flatnonzero(catalogue.kept(*told, **named)).tolist()


def test_a_listing_has_its_photos_in_the_order_of_the_rows(catalogue):
    assert catalogue.images_of("p") == ["a", "c"]
    assert catalogue.images_of("x") == []


def test_categories_are_those_of_listings_with_photos(catalogue):
    assert catalogue.categories == ("Arts", "Home")


def test_no_filter_is_none(catalogue):
    assert catalogue.kept() is None


def test_any_of_the_categories_is_kept(catalogue):
    assert kept(catalogue, ["Arts"]) == [3]
    assert kept(catalogue, ["Arts", "Home"]) == [0, 1, 2, 3]


def test_prices_are_kept_up_to_and_with_their_bounds(catalogue):
    assert kept(catalogue, min_price=10.0) == [0, 2, 3]
    assert kept(catalogue, max_price=99.5) == [0, 2, 3]
    assert kept(catalogue, min_price=10.01, max_price=99.49) == []


def test_no_price_is_within_no_bound(catalogue):
    assert 1 not in kept(catalogue, min_price=0.0)
    assert 1 in kept(catalogue, ["Home"])


def test_filters_are_taken_together(catalogue):
    assert kept(catalogue, ["Home"], min_price=5.0) == [0, 2]


def test_a_category_that_is_none_is_refused(catalogue):
    with pytest.raises(KeyError):
        catalogue.kept(["Sport"])
