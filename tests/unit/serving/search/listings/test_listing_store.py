import numpy as np
import pytest
from support.builders.small_market import (
    PREFIXES,
    bands_of,
    draw_filter,
    facts,
    listing,
    passes,
    roots_of,
)

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.search.listings.filters import GeoFilter, SearchFilters
from fb_marketplace_serving.search.listings.listing_store import PRICE_BANDS, ListingStore

LEEDS, YORK = (53.80, -1.55), (53.96, -1.08)
LEEDS_TO_YORK_KM = 35.6


@pytest.fixture
def catalogue():
    """Four listings; p has two photos with another's between them, s has none."""
    listings = {
        "p": listing("p", 10.0, "Home / Chairs / Oak"),
        "q": listing("q", None, "Home / Chairs"),
        "r": listing("r", 99.5, "Arts"),
        "s": listing("s", 0.0, "Home / Chairs and tables"),
    }
    index = Index.build_flat(np.eye(4, 8, dtype=np.float32), list("abcd"), ["p", "q", "p", "r"])
    places = [LEEDS, YORK, (np.nan, np.nan), LEEDS]
    return ListingStore(index, listings, facts(list("pqrs"), places=places))


def kept_ids(catalogue, **params):
    return [
        catalogue.product_ids[place]
        for place in np.flatnonzero(catalogue.mask(SearchFilters(**params)))
    ]


def test_filters_equal_exhaustive_filtering(market):
    random = np.random.default_rng(1)
    sizes = set()
    for _ in range(1000):
        params = draw_filter(random)

        mask = market.catalogue.mask(params)

        result = [True] * len(market.listings) if mask is None else mask.tolist()
        assert result == [passes(market, pos, params) for pos in range(len(market.listings))], (
            params
        )
        sizes.add(sum(result))
    assert min(sizes) == 0
    assert max(sizes) == len(market.listings)


def test_facets_equal_exhaustive_counts(market):
    random = np.random.default_rng(2)
    for _ in range(200):
        positions = np.flatnonzero(random.random(len(market.catalogue)) < random.random())

        result = market.catalogue.facets(positions)

        assert {item.path: item.count for item in result.categories} == roots_of(market, positions)
        assert [item.count for item in result.prices] == bands_of(market, positions)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_facets_below_category_count_next_level(market, prefix):
    positions = np.flatnonzero(market.catalogue.mask(SearchFilters((prefix,))))

    result = market.catalogue.facets(positions, (prefix,))

    depth = prefix.count(" / ") + 2
    paths = [list(market.listings.values())[pos].category_path.split(" / ") for pos in positions]
    parts = [" / ".join(path[:depth]) for path in paths]
    assert {item.path: item.count for item in result.categories} == {
        part: parts.count(part) for part in parts
    }


def named(counts):
    return [(item.path, item.count) for item in counts]


def test_facets_are_sorted_by_count_then_name(catalogue):
    every = np.arange(4)

    assert named(catalogue.facets(every).categories) == [("Home", 3), ("Arts", 1)]
    assert named(catalogue.facets(every, ("Home",)).categories) == [
        ("Home / Chairs", 2),
        ("Arts", 1),
        ("Home / Chairs and tables", 1),
    ]


def test_facets_use_level_below_deepest_category(catalogue):
    result = catalogue.facets(np.arange(2), ("Home", "Home / Chairs"))

    assert named(result.categories) == [("Home / Chairs", 1), ("Home / Chairs / Oak", 1)]


def test_empty_price_bands_are_included(catalogue):
    result = catalogue.facets(np.empty(0, np.int64))

    assert result.categories == []
    assert [band.low for band in result.prices] == list(PRICE_BANDS)
    assert {band.count for band in result.prices} == {0}
    assert result.prices[-1].high is None


def test_photos_of_listing_are_in_row_order(catalogue):
    assert catalogue.images_of("p") == ["a", "c"]
    assert catalogue.images_of("s") == []
    assert catalogue.images_of("x") == []


def test_rows_and_listings_map_to_each_other(market):
    catalogue, photos = market.catalogue, market.searched.image
    for product, pos in zip(catalogue.product_ids, range(len(catalogue)), strict=True):
        rows = [row for row, owner in enumerate(photos.product_ids) if owner == product]
        assert catalogue.position(product) == pos
        assert catalogue.rows_of(pos).tolist() == rows
        assert catalogue.photo_count[pos] == len(rows)
        assert (catalogue.listing_of_row[rows] == pos).all()


def test_unknown_listing_has_no_position(catalogue):
    with pytest.raises(KeyError):
        catalogue.position("x")


def test_categories_and_paths_are_sorted_and_unique(catalogue):
    assert catalogue.categories == ("Arts", "Home")
    assert catalogue.paths == (
        *("Arts", "Home / Chairs"),
        *("Home / Chairs / Oak", "Home / Chairs and tables"),
    )
    assert [catalogue.paths[place] for place in catalogue.path] == [
        *("Home / Chairs / Oak", "Home / Chairs"),
        *("Arts", "Home / Chairs and tables"),
    ]
    assert [catalogue.categories[place] for place in catalogue.root] == [
        "Home",
        "Home",
        "Arts",
        "Home",
    ]


@pytest.mark.parametrize("params", [SearchFilters(), SearchFilters(location=GeoFilter(*LEEDS))])
def test_empty_query_is_no_filter(catalogue, params):
    assert catalogue.mask(params) is None


def test_bound_of_zero_is_a_bound(catalogue):
    assert kept_ids(catalogue, min_price=0.0) == ["p", "r", "s"]
    assert kept_ids(catalogue, max_price=0.0) == ["s"]


def test_price_bounds_are_inclusive(catalogue):
    assert kept_ids(catalogue, min_price=10.0, max_price=99.5) == ["p", "r"]
    assert kept_ids(catalogue, min_price=10.01, max_price=99.49) == []


def test_radius_is_inclusive(catalogue):
    near = GeoFilter(*LEEDS)

    assert catalogue.distances(near)[1] == pytest.approx(LEEDS_TO_YORK_KM, abs=0.3)
    assert kept_ids(catalogue, location=near._replace(radius_km=36)) == ["p", "q", "s"]
    assert kept_ids(catalogue, location=near._replace(radius_km=35)) == ["p", "s"]
    assert kept_ids(catalogue, location=near._replace(radius_km=0)) == ["p", "s"]


def test_distances_of_subset_equal_those_of_all(catalogue):
    near = GeoFilter(*YORK)

    result = catalogue.distances(near, np.array([2, 0]))

    np.testing.assert_array_equal(result, catalogue.distances(near)[[2, 0]])


def test_filter_by_missing_photo(catalogue):
    assert kept_ids(catalogue, has_photo=False) == ["s"]
    assert kept_ids(catalogue, has_photo=True) == ["p", "q", "r"]


@pytest.mark.parametrize("category", ["Sport", "Home / Chair", "", "home"])
def test_unknown_category_is_rejected(catalogue, category):
    with pytest.raises(KeyError):
        catalogue.mask(SearchFilters(categories=("Home", category)))


def test_rows_are_kept_with_their_listings(catalogue):
    assert catalogue.row_mask(None) is None
    assert catalogue.row_mask(np.array([True, False, False, True])).tolist() == [
        *(True, False),
        *(True, False),
    ]


def test_jokes_and_absurd_prices_are_in_no_band():
    prices = {
        "a": (30.0, None),
        "b": (1.0, "joke"),
        "c": (2_500_000.0, "absurd"),
        "d": (0.0, "zero"),
    }
    listings = {
        name: listing(name, price)._replace(price_flag=flag)
        for name, (price, flag) in prices.items()
    }
    store = ListingStore(Index.empty(), listings, facts(list(prices)))

    bands = store.facets(np.arange(4)).prices

    assert sum(band.count for band in bands) == 2
    assert np.isnan(store.meant_price).tolist() == [False, True, True, False]
    assert store.mask(SearchFilters(min_price=1_000_000)).tolist() == [False, False, True, False]
