import math

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.search.listings.filters import GeoFilter, SearchFilters
from fb_marketplace_serving.search.listings.geo import EARTH_KM
from fb_marketplace_serving.search.listings.listing import Listing
from fb_marketplace_serving.search.listings.listing_features import ListingFeatures
from fb_marketplace_serving.search.listings.listing_store import ListingStore

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)
points = st.tuples(latitudes, longitudes)


def chord_km(one, other):
    """Over the ground by way of the straight line through it: another formula for the same."""

    def on_sphere(latitude, longitude):
        north, east = math.radians(latitude), math.radians(longitude)
        return math.cos(north) * math.cos(east), math.cos(north) * math.sin(east), math.sin(north)

    straight = math.dist(on_sphere(*one), on_sphere(*other))
    return 2 * EARTH_KM * math.asin(min(straight / 2, 1.0))


def pos(places):
    """Listings offered at places; None for one that is not known."""
    ids = [f"p{number:03}" for number in range(len(places))]
    nowhere = (math.nan, math.nan)
    north, east = zip(*(place or nowhere for place in places), strict=True)
    listings = {
        item: Listing(item, "A chair", 1.0, "GBP", "Home", "Home", None, None) for item in ids
    }
    photos = Index.build_flat(np.eye(1, 8, dtype=np.float32), ["a"], ids[:1])
    nothing = np.zeros(len(ids), np.int64)
    return ListingStore(
        photos,
        listings,
        ListingFeatures.from_columns(ids, ids, north, east, nothing, nothing, nothing),
    )


@settings(deadline=None)  # the first index of a process takes longer
@given(st.lists(st.none() | points, min_size=1, max_size=20), points, st.floats(0, 20_100))
def test_radius_filter_equals_measured_distances(places, around, radius):
    away = [math.inf if place is None else chord_km(around, place) for place in places]
    assume(all(abs(separate - radius) > 0.02 for separate in away))

    remaining = pos(places).mask(SearchFilters(location=GeoFilter(*around, radius)))

    assert remaining.tolist() == [separate <= radius for separate in away]


def test_place_without_radius_keeps_all():
    assert pos([None, (51.5, -0.1)]).mask(SearchFilters(location=GeoFilter(51.5, -0.1))) is None
