"""Counties are learned from listings among the real towns of a country: names and places are public."""

import pandas as pd
import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.listings import GazetteerParameters
from fb_marketplace.pipelines.listings.gazetteer import build_gazetteer
from fb_marketplace_serving.search.listings.gazetteer import Gazetteer, UnknownPlaceError
from fb_marketplace_serving.search.listings.geo import distance_km

OFFERED = {
    "Bristol": ["Bristol", "Portishead", "Keynsham", "St Andrews", "Bishopston"],
    "Cardiff": ["Llandaff", "Whitchurch", "Ely", "Canton"],
    "Cornwall": ["Norwich", "Nottingham", "Oxford", "Penzance", "Truro"],
    "East Sussex": ["Lewes", "Hastings", "Eastbourne", "Southwick"],
    "Glasgow": ["East End", "Bearsden", "Rutherglen"],
    "Highland": ["Inverness", "Aviemore", "Fort William", "Thurso", "Nairn"],
    "Isle of Wight": ["Ryde", "Cowes", "Sandown"],
    "London": ["Croydon", "Ealing", "Hackney", "Richmond"],
    "North Yorkshire": [
        *("Catterick Garrison", "Harrogate", "Knaresborough", "Malton", "Northallerton"),
        *("Richmond", "Ripon", "Scarborough", "Selby", "Skipton", "Thirsk", "Whitby"),
    ],
    "Swansea": ["Gorseinon", "Pontarddulais", "Sketty"],
    "Tyne and Wear": ["Newcastle", "Sunderland", "Gateshead"],
    "West Midlands": [
        *("Birmingham", "Coventry", "Dudley", "Halesowen", "Smethwick", "Solihull", "Stourbridge"),
        *("Tipton", "Walsall", "Wednesbury", "West Bromwich", "Wolverhampton", "Sparkhill"),
    ],
}
# The whole list takes seconds to read: once for all tests.
GB = GazetteerParameters(country="GB", min_population=500)
LARGER = GazetteerParameters(country="GB", min_population=15000)


def listed(by_county):
    pairs = [(town, county) for county, towns in by_county.items() for town in towns]
    return pd.DataFrame(pairs, columns=["town", "county"], dtype="str")


@pytest.fixture(scope="module")
def places():
    return Gazetteer.from_bytes(build_gazetteer(listed(OFFERED), GB))


def near(place, latitude, longitude, km=5.0):
    return distance_km(place.latitude, place.longitude, latitude, longitude) <= km


@pytest.mark.parametrize(
    ("typed", "latitude", "longitude"),
    [
        ("Leeds", 53.80, -1.55),
        ("Newcastle", 54.97, -1.61),
        ("Hull", 53.74, -0.33),
        ("Kings Lynn", 52.75, 0.40),
        ("King's Lynn", 52.75, 0.40),
        ("Boness", 56.02, -3.61),
        ("Peasedown St John", 51.32, -2.42),
        ("St Andrews", 56.34, -2.80),
        ("Stratford upon Avon", 52.19, -1.71),
    ],
)
def test_town_is_found_in_common_spellings(places, typed, latitude, longitude):
    assert near(places.find(typed), latitude, longitude)


@pytest.mark.parametrize(
    ("typed", "latitude", "longitude"),
    [
        ("Richmond, London", 51.46, -0.30),
        ("Richmond, North Yorkshire", 54.40, -1.74),
        ("Newport, Isle of Wight", 50.70, -1.29),
        ("Newport, Cardiff", 51.59, -3.00),
        ("Whitchurch, Cardiff", 51.51, -3.22),
    ],
)
def test_county_distinguishes_namesakes(places, typed, latitude, longitude):
    assert near(places.find(typed), latitude, longitude)


def test_county_is_where_most_of_its_towns_are(places):
    # Two in three of its names are of towns elsewhere, some of which are larger.
    result = places.resolve("Canton", "Cardiff")

    assert result.level == "county"
    assert near(result.place, 51.48, -3.18)


def test_distant_towns_do_not_shift_a_county(places):
    assert near(places.resolve("Truro", "Cornwall").place, 50.26, -5.05)
    assert places.resolve("Oxford", "Cornwall") is None


def test_county_named_like_town_is_there(places):
    # Of the towns in it, another is nearer to the others.
    assert near(places.resolve("Nowhere at All", "Swansea").place, 51.62, -3.94, km=2)


def test_namesake_outside_county_is_not_used(places):
    assert places.resolve("Southwick", "East Sussex") is None
    assert places.resolve("St Andrews", "Bristol").place.name == "Bristol"


def test_unknown_district_is_at_its_city(places):
    result = places.resolve("East End", "Glasgow")

    assert result.level == "county"
    assert near(result.place, 55.86, -4.26)


def test_compact_county_stands_for_unknown_towns(places):
    assert near(places.resolve("Sparkhill", "West Midlands").place, 52.48, -1.90, km=15)


@pytest.mark.parametrize("county", ["Highland", "North Yorkshire", "East Sussex", "Isle of Wight"])
def test_wide_or_sparse_county_stands_for_nothing(places, county):
    assert places.resolve("Nowhere at All", county) is None
    with pytest.raises(UnknownPlaceError, match="county"):
        places.find(county)


def test_wide_county_reaches_its_distant_towns(places):
    assert places.resolve("Fort William", "Highland").level == "town"


def test_gazetteer_does_not_depend_on_row_order():
    ordered = listed(OFFERED | {"EAST SUSSEX": ["Bexhill-on-Sea"]})
    shuffled = ordered.sample(frac=1, random_state=0)

    assert build_gazetteer(pd.concat([shuffled, shuffled]), LARGER) == build_gazetteer(
        ordered, LARGER
    )


def test_listings_without_county_leave_the_towns():
    nowhere = pd.DataFrame({"town": ["Leeds", None], "county": [None, None]}, dtype="str")
    result = Gazetteer.from_bytes(build_gazetteer(nowhere, LARGER))

    assert near(result.find("Leeds"), 53.80, -1.55)


def test_unknown_country_is_rejected():
    with pytest.raises(UserError, match=r"'UK'.*\bGB\b"):
        build_gazetteer(listed({}), GazetteerParameters(country="UK", min_population=15000))
