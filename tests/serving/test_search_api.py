"""Searches over HTTP, in a shop of seven listings of which two are the same."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from small_search import SHOP, SHOP_PHOTOS

from fb_marketplace_serving import photos, search_answers
from fb_marketplace_serving.api import create_app
from fb_marketplace_serving.pointer import publish, read_current
from fb_marketplace_serving.release import Release
from fb_marketplace_serving.search import Searcher
from fb_marketplace_serving.search_schemas import SearchAnswer
from fb_marketplace_serving.service import Source
from fb_marketplace_serving.settings import Settings

PROBLEM = "application/problem+json"
ONCE = {"p-bike", "p-chair", "p-lamp", "p-old", "p-plain", "p-table"}
"""The listings, of those that are the same the one that leads where nothing is searched for."""
LEEDS_TO_YORK = 35.7


@pytest.fixture(scope="module")
def opened(shop_in_common):
    return Release.open(shop_in_common)


@pytest.fixture
def client(opened):
    return TestClient(create_app(opened, Settings()))


def ask(client, **asked):
    answer = client.get("/search", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def found(client, **asked):
    return [hit["product_id"] for hit in ask(client, **asked)["hits"]]


def send(client, photo, **asked):
    answer = client.post("/search", params=asked, files={"image": ("photo.jpg", photo)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(answer, status=422):
    assert answer.status_code == status
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers["x-release"] == "v1"
    return answer.json()["detail"]


def refused(client, **asked):
    return refusal(client.get("/search", params=asked))


def test_words_find_the_listing_that_holds_them(client):
    body = ask(client, q="blue lamp")

    assert body["release"] == "v1"
    places = {hit["product_id"]: hit["places"] for hit in body["hits"]}
    by_words = {
        product: place["rank"]
        for product, told in places.items()
        for place in told
        if place["source"] == "words"
    }
    assert by_words == {"p-lamp": 1, "p-bike": 2}


def test_a_hit_says_what_is_shown_of_the_listing(client):
    hits = {hit["product_id"]: hit for hit in ask(client, q="oak")["hits"]}

    shown = hits["p-table"]
    assert {name: shown[name] for name in ("title", "price", "currency", "category_path")} == {
        "title": "Oak table",
        "price": 20.5,
        "currency": "GBP",
        "category_path": "Home & Garden / Tables",
    }
    assert (shown["category"], shown["town"], shown["county"]) == ("Home & Garden", "Hull", None)
    assert shown["image_id"] == "img-green"
    assert hits["p-plain"]["image_id"] is None


def test_hits_stand_by_their_score_the_best_first(client):
    scores = [hit["score"] for hit in ask(client, q="red chair")["hits"]]

    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 1


def test_a_hit_is_placed_by_the_sources_that_found_it(client):
    hits = ask(client, q="red chair")["hits"]

    for source in ("words", "meaning", "pictured"):
        ranked = [
            (place["rank"], place["similarity"])
            for hit in hits
            for place in hit["places"]
            if place["source"] == source
        ]
        assert ranked
        similarities = [similarity for _, similarity in sorted(ranked)]
        assert similarities == sorted(similarities, reverse=True), source
    plain = next(hit for hit in hits if hit["product_id"] == "p-plain")
    assert "pictured" not in {place["source"] for place in plain["places"]}


def test_without_words_all_listings_are_found(client):
    body = ask(client)

    assert {hit["product_id"] for hit in body["hits"]} == ONCE
    assert (body["total"], body["listings"]) == (6, 7)
    assert all(hit["score"] == 0 and hit["places"] == [] for hit in body["hits"])
    assert [hit["image_id"] for hit in body["hits"] if hit["product_id"] == "p-bike"] == [
        "img-grey"
    ]


def test_words_of_blanks_are_no_words(client):
    assert ask(client, q="  \t") == ask(client)


@pytest.mark.parametrize("words", ["…!?", "zzz", "🚲", "红", "\0", "a" * 200])
def test_words_that_no_listing_holds_are_answered_all_the_same(client, words):
    assert ask(client, q=words)["release"] == "v1"


def test_listings_that_show_the_same_are_folded_under_the_one_that_leads(client):
    hits = {hit["product_id"]: hit["more"] for hit in ask(client)["hits"]}

    assert hits.pop("p-chair") == ["p-copy"]
    assert set(map(tuple, hits.values())) == {()}


@pytest.mark.parametrize(
    ("asked", "expected"),
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
def test_a_filter_keeps_what_it_says(client, asked, expected, words):
    assert {each.replace("p-copy", "p-chair") for each in found(client, q=words, **asked)} == {
        each.replace("p-copy", "p-chair") for each in expected
    }


def test_distances_are_told_from_the_place_that_was_named(client):
    told = {hit["product_id"]: hit["distance_km"] for hit in ask(client, near="Leeds")["hits"]}

    assert told["p-chair"] == 0
    assert told["p-old"] == pytest.approx(LEEDS_TO_YORK, abs=0.3)
    assert told["p-bike"] is None
    assert {hit["distance_km"] for hit in ask(client)["hits"]} == {None}


def test_an_unknown_category_is_told_with_those_that_are_spelled_nearly_so(client):
    detail = refused(client, category="Home & Garden / Chiars")

    assert "'Home & Garden / Chiars'" in detail
    assert "such as Home & Garden / Chairs" in detail
    assert "Sport" not in detail


def test_a_category_is_proposed_by_its_last_part_alone(client):
    assert "such as Home & Garden / Lamps" in refused(client, category="lamp")


def test_a_category_like_none_is_told_with_the_roots(client):
    detail = refused(client, category="zzzzzzzz")

    assert "Home & Garden" in detail
    assert "Sport" in detail


def test_a_category_is_whole_parts_of_a_path(client):
    assert "Home" in refused(client, category="Home")


def test_an_unknown_town_is_told_with_those_that_are_spelled_nearly_so(client):
    assert "Leeds" in refused(client, near="Leedz")
    assert "expected" in refused(client, near="Zzyzx")


@pytest.mark.parametrize(
    "asked", [{"radius_km": 5}, {"sort": "distance"}, {"near": " ", "radius_km": 5}]
)
def test_a_distance_without_a_place_is_refused(client, asked):
    assert "near" in refused(client, **asked) or "place" in refused(client, **asked)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"k": 0}, "query.k"),
        ({"k": 101}, "query.k"),
        ({"offset": -1}, "query.offset"),
        ({"radius_km": 0, "near": "Leeds"}, "query.radius_km"),
        ({"radius_km": "nan", "near": "Leeds"}, "query.radius_km"),
        ({"min_price": -1}, "query.min_price"),
        ({"max_price": "inf"}, "query.max_price"),
        ({"sort": "cheapest"}, "query.sort"),
        ({"spread": 1.5}, "query.spread"),
        ({"q": "a" * 201}, "query.q"),
        ({"near": "a" * 201}, "query.near"),
        ({"has_photo": "maybe"}, "query.has_photo"),
    ],
)
def test_what_cannot_be_asked_is_told_with_what_was_found(client, asked, said):
    assert said in refused(client, **asked)


@pytest.mark.parametrize("words", ["", "red chair"])
def test_hits_may_be_sorted_by_price(client, words):
    up = [hit["price"] for hit in ask(client, q=words, sort="price")["hits"]]
    down = [hit["price"] for hit in ask(client, q=words, sort="price_down")["hits"]]

    assert up == [10, 20.5, 20.5, 45, 1000, None]
    assert down == [1000, 45, 20.5, 20.5, 12, None]


@pytest.mark.parametrize("words", ["", "red chair"])
def test_hits_may_be_sorted_by_distance(client, words):
    told = [
        hit["distance_km"] for hit in ask(client, q=words, near="York", sort="distance")["hits"]
    ]

    assert told[0] == 0
    assert told[:-1] == sorted(told[:-1])
    assert told[-1] is None


@pytest.mark.parametrize("asked", [{}, {"sort": "price"}, {"spread": 0.5}])
@pytest.mark.parametrize("words", ["", "red chair"])
@pytest.mark.parametrize("k", [1, 4, 100])
def test_pages_hold_each_hit_once_and_in_the_order_of_one_page(client, asked, words, k):
    whole = ask(client, q=words, k=100, **asked)
    pages = [ask(client, q=words, k=k, offset=offset, **asked) for offset in range(0, 6 + k, k)]

    assert [hit for page in pages for hit in page["hits"]] == whole["hits"]
    assert {page["total"] for page in pages} == {whole["total"]} == {len(whole["hits"])}
    assert pages[-1]["hits"] == []
    for page in pages:
        assert page["categories"] == whole["categories"]


def test_facets_count_all_that_was_found_not_only_the_page(client):
    body = ask(client, k=1)

    counts = {each["path"]: each["count"] for each in body["categories"]}
    assert counts == {"Home & Garden": 6, "Sport": 1}
    prices = {(each["low"], each["high"]): each["count"] for each in body["prices"]}
    assert sum(prices.values()) == 6
    assert prices[10, 25] == 4
    assert prices[1000, None] == 1


def test_facets_are_of_the_parts_below_the_category_that_was_asked_for(client):
    body = ask(client, q="red chair", category="Home & Garden")

    assert {each["path"]: each["count"] for each in body["categories"]} == {
        "Home & Garden / Chairs": 3,
        "Home & Garden / Tables": 2,
        "Home & Garden / Lamps": 1,
    }


def test_spread_keeps_the_best_and_all_hits_and_brings_others_forward(client):
    best, spread = found(client, q="red chair"), found(client, q="red chair", spread=1)

    assert spread[0] == best[0]
    assert Counter(spread) == Counter(best)
    assert spread != best


@pytest.mark.parametrize("asked", [{}, {"sort": "price"}, {"spread": 0.7}, {"near": "Leeds"}])
def test_an_explanation_adds_up_to_the_score(client, asked):
    hits = ask(client, q="old oak table", explain=True, **asked)["hits"]

    assert len(hits) == 6
    for hit in hits:
        parts = [reason["adds"] for reason in hit["why"]["reasons"]]
        assert hit["why"]["base"] + sum(parts) == pytest.approx(hit["score"], abs=1e-6)
        assert [abs(part) for part in parts] == sorted(map(abs, parts), reverse=True)


def test_an_explanation_takes_the_words_apart(client):
    hits = {hit["product_id"]: hit for hit in ask(client, q="old oaks", explain=True)["hits"]}

    words = hits["p-plain"]["why"]["words"]
    assert words.keys() == {"old", "oak"}
    bm25 = next(
        place["similarity"] for place in hits["p-plain"]["places"] if place["source"] == "words"
    )
    assert sum(words.values()) == pytest.approx(bm25, abs=1e-5)
    assert hits["p-table"]["why"]["words"].keys() == {"oak"}
    assert hits["p-lamp"]["why"]["words"] == {}


def test_nothing_is_explained_unasked_nor_where_nothing_was_searched_for(client):
    assert {hit["why"] for hit in ask(client, q="red chair")["hits"]} == {None}
    assert {hit["why"] for hit in ask(client, explain=True)["hits"]} == {None}


def test_typical_prices_and_notes_come_with_what_they_rest_on(client):
    hits = {hit["product_id"]: hit for hit in ask(client, q="red chair")["hits"]}

    priced = {"p-bike", "p-chair", "p-copy", "p-old", "p-plain", "p-table"}
    assert hits["p-old"]["typical_price"] == {
        "low": 15,
        "high": 25,
        "alike": sorted(priced - {"p-old"}),
    }
    assert hits["p-old"]["notes"] == []
    assert hits["p-lamp"]["typical_price"] is None
    unusual, elsewhere = hits["p-bike"]["notes"]
    assert unusual["kind"] == "unusual_price"
    assert unusual["products"] == sorted(priced - {"p-bike"})
    assert elsewhere["kind"] == "photo_elsewhere"
    assert elsewhere["products"] == ["p-table"]


def test_a_photo_finds_the_listing_that_shows_it(client, canonical_photos):
    body = send(client, canonical_photos["img-blue"])

    (by_photo,) = [
        hit
        for hit in body["hits"]
        if {"source": "picture", "rank": 1} in [
            {name: place[name] for name in ("source", "rank")} for place in hit["places"]
        ]
    ]  # fmt: skip
    assert by_photo["product_id"] == "p-lamp"
    assert by_photo["image_id"] == "img-blue"
    assert by_photo["places"][0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert {place["source"] for hit in body["hits"] for place in hit["places"]} == {"picture"}
    assert "p-plain" not in {hit["product_id"] for hit in body["hits"]}


def test_a_photo_and_words_are_searched_for_together(client, canonical_photos):
    body = send(client, canonical_photos["img-red"], q="blue", explain=True)

    sources = {place["source"] for hit in body["hits"] for place in hit["places"]}
    assert sources == {"words", "meaning", "pictured", "picture", "both"}
    for hit in body["hits"]:
        total = hit["why"]["base"] + sum(reason["adds"] for reason in hit["why"]["reasons"])
        assert total == pytest.approx(hit["score"], abs=1e-6)


def test_a_search_by_photo_is_filtered_and_paged(client, canonical_photos):
    red = canonical_photos["img-red"]
    asked = {"category": "Home & Garden", "max_price": 100}

    whole = send(client, red, **asked)
    pages = [send(client, red, k=1, offset=offset, **asked) for offset in range(3)]

    assert {hit["product_id"] for hit in whole["hits"]} == {"p-chair", "p-old", "p-table"}
    assert [page["hits"][0] for page in pages] == whole["hits"]


def test_what_is_no_photo_is_refused_as_elsewhere(client, canonical_photos):
    def post(data):
        return client.post("/search", files={"image": ("photo.jpg", data)})

    assert refusal(post(b"GIF89a" + bytes(99)), 415)
    assert refusal(post(b"hello"), 415)
    assert "ends early" in refusal(post(canonical_photos["img-red"][:-300]), 422)
    assert refusal(post(b""), 422)
    assert refusal(client.post("/search"), 422)
    assert refusal(
        client.post("/search?sort=distance", files={"image": canonical_photos["img-red"]}), 422
    )


def test_a_key_is_needed_where_there_are_keys(opened, canonical_photos):
    client = TestClient(create_app(opened, Settings(api_keys=f"page:{'k' * 20}")))
    photo = {"image": canonical_photos["img-red"]}

    assert refusal(client.get("/search"), 401)
    assert refusal(client.post("/search", files=photo), 401)
    headers = {"X-API-Key": "k" * 20}
    assert client.get("/search", headers=headers).status_code == 200
    assert client.post("/search", headers=headers, files=photo).status_code == 200


def test_who_searches_too_often_is_told_when_they_may_again(opened):
    client = TestClient(create_app(opened, Settings(rate_limit="2/minute")))

    answers = [client.get("/search") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["retry-after"]) >= 1


def test_a_server_with_no_place_left_says_so_at_once(opened):
    client = TestClient(create_app(opened, Settings(queue=1)))
    client.app.state.service._admission.working = 1

    answer = client.get("/search")

    assert answer.status_code == 503
    assert answer.json()["type"].endswith(":full")


def test_a_search_that_takes_too_long_is_given_up(opened, monkeypatch):
    monkeypatch.setattr(Searcher, "search", lambda *_, **__: time.sleep(0.5))
    client = TestClient(create_app(opened, Settings(request_seconds=0.05)))

    answer = client.get("/search")

    assert answer.status_code == 503
    assert answer.json()["type"].endswith(":deadline")


def test_a_release_that_holds_nothing_to_search_by_words_says_so(release, canonical_photos):
    client = TestClient(create_app(release, Settings()))

    for answer in (
        client.get("/search", params={"q": "red chair"}),
        client.post("/search", files={"image": canonical_photos["img-red"]}),
    ):
        assert "v1" in refusal(answer, 404)


def test_metrics_time_the_stages_of_a_search_beside_their_budgets(client):
    ask(client, q="red chair")

    lines = client.get("/metrics").text.splitlines()

    for stage in ("text", "retrieve", "rank"):
        assert f'fb_stage_seconds_count{{stage="{stage}"}} 1.0' in lines
        assert any(
            line.startswith(f'fb_stage_budget_seconds{{stage="{stage}"}} 0.0') for line in lines
        )
    assert 'fb_requests_total{method="GET",route="/search",status="200"} 1.0' in lines


def test_nothing_of_a_search_is_done_on_the_event_loop(client, monkeypatch):
    threads = {}

    def watched(owner, name):
        inner = getattr(owner, name)

        def work(*given, **named):
            threads[name] = threading.current_thread().name
            return inner(*given, **named)

        monkeypatch.setattr(owner, name, work)

    watched(search_answers, "_query")
    watched(Searcher, "search")
    watched(search_answers, "_hit")
    watched(SearchAnswer, "model_dump_json")

    ask(client, q="red chair", explain=True)

    assert len(threads) == 4
    assert all(name.startswith("search") for name in threads.values())


def test_a_search_that_works_keeps_nobody_else_waiting(opened, monkeypatch):
    going_on, over = threading.Event(), threading.Event()

    def slow(*_, **__):
        going_on.set()
        over.wait(10)
        raise RuntimeError

    monkeypatch.setattr(Searcher, "search", slow)
    with TestClient(create_app(opened, Settings())) as client, ThreadPoolExecutor(1) as pool:
        search = pool.submit(client.get, "/search")
        assert going_on.wait(10)
        assert client.get("/livez").status_code == 200
        assert not search.done()
        over.set()
        assert search.result().status_code == 500


def test_many_at_once_are_answered_as_one_is(serve, shop, canonical_photos):
    process = serve("--lake", shop, "--port", "0", FB_LOG_LEVEL="error", FB_QUEUE="64")
    address = process.stdout.readline().split()[-1]
    asked = [
        {"q": words, "explain": True, **more}
        for words in ("red chair", "blue", "old oak table", "")
        for more in (
            {},
            {"near": "Leeds", "sort": "distance"},
            {"spread": 0.5},
            {"category": "Sport"},
        )
    ]

    def ask_all(seed):
        answers = [None] * (len(asked) * 2)
        with httpx.Client(base_url=address, timeout=60) as client:
            for place in np.random.default_rng(seed).permutation(len(answers)).tolist():
                params = asked[place // 2]
                photo = {"image": canonical_photos["img-red"]} if place % 2 else None
                answer = client.request(
                    "POST" if photo else "GET", "/search", params=params, files=photo
                )
                answers[place] = (answer.status_code, answer.content)
        return answers

    alone = ask_all(0)
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(ask_all, range(1, 17)))

    assert {status for status, _ in alone} == {200}
    assert all(answers == alone for answers in together)


def test_deleted_and_changed_listings_are_right_everywhere_after_the_next_run(
    shop, make_shop, canonical_photos, paint
):
    changed = dict(SHOP) | {"p-table": ("Pine desk", 99.0, "Office / Desks", "Bath")}
    del changed["p-lamp"]
    photos_of = dict(SHOP_PHOTOS) | {"img-new": "p-table"}
    del photos_of["img-blue"], photos_of["img-green"]
    new = photos.canonical(paint((240, 120, 10)))
    source = Source(lambda: read_current(shop).version, lambda version: Release.open(shop, version))
    app = create_app(Release.open(shop), Settings(follow_seconds=0.01), source)

    with TestClient(app) as client:
        before = client.get("/images/img-blue"), client.get("/images/img-green")
        assert [answer.status_code for answer in before] == [200, 200]
        assert "p-lamp" in found(client, q="blue lamp")
        assert found(client, category="Home & Garden / Lamps") == ["p-lamp"]

        next_run = make_shop("v2", changed, photos_of, "next", canonical_photos | {"img-new": new})
        publish(shop, next_run)
        until(lambda: client.get("/healthcheck").json()["release"] == "v2")

        # Hits.
        for asked in ({}, {"q": "blue lamp"}, {"q": "oak table"}, {"sort": "price"}):
            body = ask(client, **asked)
            hits = {hit["product_id"]: hit for hit in body["hits"]}
            assert body["release"] == "v2"
            assert hits.keys() == ONCE - {"p-lamp"}
            desk = hits["p-table"]
            assert (desk["title"], desk["price"]) == ("Pine desk", 99)
            assert (desk["category_path"], desk["town"]) == ("Office / Desks", "Bath")
            assert desk["image_id"] == "img-new"
            told = [
                *desk["typical_price"]["alike"],
                *(id_ for hit in hits.values() for id_ in hit["more"]),
            ]
            assert "p-lamp" not in told
        by_words = {
            hit["product_id"]
            for hit in ask(client, q="oak lamp pine")["hits"]
            if any(place["source"] == "words" for place in hit["places"])
        }
        assert by_words == {"p-plain", "p-table"}
        by_photo = send(client, canonical_photos["img-green"])["hits"]
        assert {hit["image_id"] for hit in by_photo} == {
            "img-red",
            "img-yellow",
            "img-grey",
            "img-new",
        }
        assert found(client, min_price=99, max_price=99) == ["p-table"]
        assert found(client, near="Bath", radius_km=5) == ["p-table"]
        # Facets.
        body = ask(client)
        assert {each["path"]: each["count"] for each in body["categories"]} == {
            "Home & Garden": 4,
            "Office": 1,
            "Sport": 1,
        }
        assert {each["low"]: each["count"] for each in body["prices"]}[50] == 1
        assert "Lamps" in refused_by("v2", client.get("/search?category=Home %26 Garden / Lamps"))
        # Listings.
        assert client.get("/products/p-lamp").status_code == 404
        product = client.get("/products/p-table").json()
        assert (product["title"], product["price"]) == ("Pine desk", 99)
        assert product["image_ids"] == ["img-new"]
        # Photos.
        assert client.get("/images/img-blue").status_code == 404
        assert client.get("/images/img-green").status_code == 404
        assert client.get("/images/img-new").content == new


def refused_by(version, answer):
    assert (answer.status_code, answer.headers["x-release"]) == (422, version)
    return answer.json()["detail"]


def until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come about within ten seconds")
