"""Filters, sorting, pages and facets of search over HTTP."""

from collections import Counter
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from support.search_client import ONCE, ask, find_ids, refused

from fb_marketplace_serving.search.listings.listing import ListingTable
from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.settings import Settings

LEEDS_TO_YORK = 35.7


@pytest.fixture
def client(opened_shop):
    return TestClient(create_app(opened_shop, Settings()))


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"category": "Sport"}, {"p-bike"}),
        ({"category": "Home & Garden"}, ONCE - {"p-bike"}),
        ({"category": "Home & Garden / Chairs"}, {"p-chair", "p-old"}),
        ({"category": "Home & Garden / Chairs / Old"}, {"p-old"}),
        ({"category": ["Sport / Bikes", "Home & Garden / Lamps"]}, {"p-bike", "p-lamp"}),
        ({"min_price": 20.5}, {"p-bike", "p-old", "p-plain", "p-table"}),
        ({"max_price": 20.5}, {"p-chair", "p-old", "p-table"}),
        ({"min_price": 20.5, "max_price": 45}, {"p-old", "p-plain", "p-table"}),
        ({"min_price": 50, "max_price": 40}, set()),
        ({"near": "Leeds", "radius_km": 1}, {"p-chair", "p-plain"}),
        ({"near": "leeds", "radius_km": 40}, {"p-chair", "p-old", "p-plain"}),
        ({"near": "Leeds"}, ONCE),
        ({"has_photo": True}, ONCE - {"p-plain"}),
        ({"has_photo": False}, {"p-copy", "p-plain"}),
        ({"category": "Home & Garden", "max_price": 20.5, "near": "Hull", "radius_km": 5}, {"p-table"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("words", ["", "red chair"])
def test_filter_keeps_matching_listings(client, params, expected, words):
    assert {item.replace("p-copy", "p-chair") for item in find_ids(client, q=words, **params)} == {
        item.replace("p-copy", "p-chair") for item in expected
    }


def test_distance_is_from_named_place(client):
    output = {hit["product_id"]: hit["distance_km"] for hit in ask(client, near="Leeds")["hits"]}

    assert output["p-chair"] == 0
    assert output["p-old"] == pytest.approx(LEEDS_TO_YORK, abs=0.3)
    assert output["p-bike"] is None
    assert {hit["distance_km"] for hit in ask(client)["hits"]} == {None}


def test_unknown_category_suggests_similar_paths(client):
    detail = refused(client, category="Home & Garden / Chiars")

    assert "'Home & Garden / Chiars'" in detail
    assert "Home & Garden / Chairs" in detail
    assert "Sport" not in detail


def test_category_is_suggested_by_its_last_part(client):
    assert "Home & Garden / Lamps" in refused(client, category="lamp")


def test_unsimilar_category_suggests_roots(client):
    detail = refused(client, category="zzzzzzzz")

    assert "Home & Garden" in detail
    assert "Sport" in detail


def test_category_matches_whole_path_parts(client):
    assert "Home" in refused(client, category="Home")


def test_unknown_town_suggests_similar_names(client):
    assert "Leeds" in refused(client, near="Leedz")
    assert "known town" in refused(client, near="Zzyzx")


@pytest.mark.parametrize(
    "params", [{"radius_km": 5}, {"sort": "distance"}, {"near": " ", "radius_km": 5}]
)
def test_distance_without_place_is_rejected(client, params):
    assert "near" in refused(client, **params) or "place" in refused(client, **params)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"limit": 0}, "query.limit"),
        ({"limit": 101}, "query.limit"),
        ({"offset": -1}, "query.offset"),
        ({"radius_km": 0, "near": "Leeds"}, "query.radius_km"),
        ({"radius_km": "nan", "near": "Leeds"}, "query.radius_km"),
        ({"min_price": -1}, "query.min_price"),
        ({"max_price": "inf"}, "query.max_price"),
        ({"sort": "cheapest"}, "query.sort"),
        ({"diversity": 1.5}, "query.diversity"),
        ({"q": "a" * 201}, "query.q"),
        ({"near": "a" * 201}, "query.near"),
        ({"has_photo": "maybe"}, "query.has_photo"),
        ({"attribute": "red"}, "query.attribute"),
        ({"attribute": "colour:"}, "query.attribute"),
        ({"attribute": ["colour:red", "color:red"]}, "query.attribute"),
        ({"attribute": f"colour:{'a' * 65}"}, "query.attribute"),
    ],
)
def test_invalid_parameter_is_named(client, params, message):
    assert message in refused(client, **params)


@pytest.mark.parametrize(("old", "new"), [("k", "limit"), ("spread", "diversity")])
def test_search_renamed_parameter_gives_422_with_new_name(client, old, new):
    assert f"`{old}` is now `{new}`" in refused(client, **{old: 1})


def test_search_unknown_parameter_is_refused_by_name(client):
    detail = refused(client, q="chair", max_prize=80)

    assert "'max_prize'" in detail
    assert "max_price" in detail


def test_search_empty_parameters_are_not_given(client):
    empty = dict.fromkeys(
        ("q", "limit", "offset", "category", "min_price", "max_price", "near", "radius_km"), ""
    )
    empty |= dict.fromkeys(("has_photo", "sort", "diversity", "explain"), "")

    assert ask(client, **empty) == ask(client)
    assert ask(client, q="red chair", category="", near="") == ask(client, q="red chair")


def test_search_empty_unknown_parameter_is_refused(client):
    assert "'max_prize'" in refused(client, max_prize="")


def test_search_many_parameters_are_refused(client):
    assert "256" in refused(client, category=["a"] * 300)


@pytest.mark.parametrize("words", ["", "red chair"])
def test_hits_are_sorted_by_price(client, words):
    up = [hit["price"] for hit in ask(client, q=words, sort="price_asc")["hits"]]
    down = [hit["price"] for hit in ask(client, q=words, sort="price_desc")["hits"]]

    assert up == [10, 20.5, 20.5, 45, 1000, None]
    assert down == [1000, 45, 20.5, 20.5, 12, None]


@pytest.mark.parametrize("words", ["", "red chair"])
def test_hits_are_sorted_by_date(client, words):
    hits = ask(client, q=words, sort="newest")["hits"]

    dates = [hit["created_at"] for hit in hits]
    assert dates[0] == "2022-03-01T00:00:00Z"
    assert dates[:-2] == sorted(dates[:-2], reverse=True)
    assert dates[-2:] == [None, None]


def test_sort_by_date_without_dates_is_refused(opened_shop):
    undated = ListingTable.from_listings(
        [item._replace(created_at=None) for item in opened_shop.listings.values()]
    )
    client = TestClient(create_app(replace(opened_shop, listings=undated), Settings()))

    assert "`created_at`" in refused(client, sort="newest")
    assert {hit["created_at"] for hit in ask(client)["hits"]} == {None}
    assert not client.get("/release").json()["has_dates"]


@pytest.mark.parametrize("words", ["", "red chair"])
def test_hits_are_sorted_by_distance(client, words):
    output = [
        hit["distance_km"] for hit in ask(client, q=words, near="York", sort="distance")["hits"]
    ]

    assert output[0] == 0
    assert output[:-1] == sorted(output[:-1])
    assert output[-1] is None


@pytest.mark.parametrize("params", [{}, {"sort": "price_asc"}, {"diversity": 0.5}])
@pytest.mark.parametrize("words", ["", "red chair"])
@pytest.mark.parametrize("limit", [1, 4, 100])
def test_pages_partition_the_hits(client, params, words, limit):
    complete = ask(client, q=words, limit=100, **params)
    starts = range(0, 6 + limit, limit)
    pages = [ask(client, q=words, limit=limit, offset=start, **params) for start in starts]

    assert [hit for page in pages for hit in page["hits"]] == complete["hits"]
    assert {page["total"] for page in pages} == {complete["total"]} == {len(complete["hits"])}
    assert pages[-1]["hits"] == []
    for page in pages:
        assert page["categories"] == complete["categories"]


def test_facets_count_all_hits(client):
    body = ask(client, limit=1)

    counts = {item["path"]: item["count"] for item in body["categories"]}
    assert counts == {"Home & Garden": 6, "Sport": 1}
    prices = {(item["low"], item["high"]): item["count"] for item in body["prices"]}
    assert sum(prices.values()) == 6
    assert prices[10, 25] == 4
    assert prices[1000, None] == 1


def test_attribute_facets_count_hits_and_narrow_them(client):
    body = ask(client, q="red chair")
    facets = {(facet["kind"], facet["value"]): facet["count"] for facet in body["attributes"]}

    assert facets
    for (kind, value), count in facets.items():
        narrowed = ask(client, q="red chair", attribute=f"{kind}:{value}")
        assert narrowed["total_listings"] == count
        assert all(value in hit["title"].lower() for hit in narrowed["hits"])
        assert ask(client, q="red chair", attribute=[f"{kind}:{value}"] * 2) == narrowed


def test_unknown_attribute_has_no_hits(client):
    assert find_ids(client, q="red chair", attribute="colour:octarine") == []


def test_facets_are_of_the_level_below_category(client):
    body = ask(client, q="red chair", category="Home & Garden")

    assert {item["path"]: item["count"] for item in body["categories"]} == {
        "Home & Garden / Chairs": 3,
        "Home & Garden / Tables": 2,
        "Home & Garden / Lamps": 1,
    }


def test_diversity_keeps_best_and_all_hits(client):
    best, spread = find_ids(client, q="red chair"), find_ids(client, q="red chair", diversity=1)

    assert spread[0] == best[0]
    assert Counter(spread) == Counter(best)
    assert spread != best
