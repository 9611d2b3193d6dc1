"""Meaning, spelling and completion of queries over HTTP, in a shop of seven listings."""

import fastapi.routing
import pytest
from fastapi.testclient import TestClient
from support.search_client import ask, find_ids, refused

from fb_marketplace_serving.interpreter_lock import INTERPRETER
from fb_marketplace_serving.search.suggestions import quote
from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.routes import search as search_module
from fb_marketplace_serving.server.routes import suggest as suggest_module
from fb_marketplace_serving.server.routes.strict_route import parse_query
from fb_marketplace_serving.server.schemas.search import SearchRequest
from fb_marketplace_serving.server.settings import Settings


@pytest.fixture
def client(opened_shop):
    return TestClient(create_app(opened_shop, Settings()))


def meanings(body):
    return {part["kind"]: part["value"] for part in body["interpretation"]}


KEY = {"X-API-Key": "a-key-of-the-shop"}


def suggest(client, **query):
    answer = client.get("/suggest", params=query)
    assert answer.status_code == 200, answer.text
    return [(part["text"], part["kind"]) for part in answer.json()["suggestions"]]


def test_price_and_place_of_text_filter_like_parameters(client):
    by_text = ask(client, q="oak table under £30 in hull")
    by_parameters = ask(client, q="oak table", max_price=30, near="Hull", radius_km=25)

    assert by_text["hits"] == by_parameters["hits"]
    assert by_text["words"] == "oak table"
    assert meanings(by_text) == {
        "price": {"min_price": None, "max_price": 30.0},
        "place": {"near": "Hull", "radius_km": 25.0},
        "category": "Home & Garden / Tables",
    }


def test_words_without_filters_are_searched_as_typed(client):
    typed, literal = (ask(client, q="Red  chair, old", literal=literal) for literal in (0, 1))

    assert typed["hits"] == literal["hits"]
    assert typed["words"] == "Red  chair, old"


def test_ignored_price_does_not_filter(client):
    body = ask(client, q="chair under £11", ignore="price")

    assert body["words"] == "chair under £11"
    assert "price" not in meanings(body)
    assert len(body["hits"]) > len(ask(client, q="chair under £11")["hits"])


def test_literal_text_has_no_meaning(client):
    body = ask(client, q="red chiar under £11", literal=True)

    assert (body["words"], body["interpretation"]) == ("red chiar under £11", [])
    assert (body["corrected"], body["did_you_mean"]) == (None, None)


def test_price_of_text_narrows_parameter(client):
    assert find_ids(client, q="under £20", max_price=15) == find_ids(client, max_price=15)
    assert find_ids(client, q="under £15", max_price=20) == find_ids(client, max_price=15)


def test_town_of_text_is_words_if_near_is_given(client):
    body = ask(client, q="lamp in Leeds", near="Bath", radius_km=5)

    assert body["words"] == "lamp in Leeds"
    assert {hit["town"] for hit in body["hits"]} == {"Bath"}


def test_near_me_is_near_parameter(client):
    body = ask(client, q="lamp near me", near="Bath")

    assert meanings(body)["place"] == {"near": "Bath", "radius_km": 25.0}
    assert {hit["town"] for hit in body["hits"]} == {"Bath"}


def test_near_me_without_town_has_no_value(client):
    body = ask(client, q="lamp near me")

    assert body["words"] == "lamp"
    assert meanings(body)["place"] is None


def test_cheap_is_lower_quartile_of_matches(client):
    # Prices of the matches, one per family: 10, 20.5, 20.5, 45, 1000.
    body = ask(client, q="cheap")

    assert meanings(body)["price"] == {"min_price": None, "max_price": 20.5}
    assert sorted(hit["price"] for hit in body["hits"]) == [10, 20.5, 20.5]


def test_cheap_leaves_out_prices_that_are_not_meant(client):
    store = client.app.state.service.current.store
    store.meant_price[[store.position(product) for product in ("p-old", "p-table")]] = float("nan")

    # Meant prices: 10, 45, 1000.
    assert meanings(ask(client, q="cheap"))["price"]["max_price"] == 27.5


def test_unknown_word_is_corrected(client):
    body = ask(client, q="red chiar")

    assert body["corrected"] == {"original": "red chiar", "text": "red chair"}
    assert body["hits"] == ask(client, q="red chair")["hits"]


def test_correction_can_be_refused(client):
    body = ask(client, q="red chiar", ignore="spelling")

    assert (body["words"], body["corrected"]) == ("red chiar", None)


def test_unknown_kind_to_ignore_is_refused(client):
    assert "ignore" in refused(client, ignore="colours")


def test_sort_by_distance_takes_place_of_text(client):
    assert ask(client, q="chair in York", sort="distance")["hits"][0]["town"] == "York"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ch", [("chair", "word"), ("Chairs", "category")]),
        ("red cha", [("red chair", "word")]),
        ("chair in Le", [("chair in Leeds", "town")]),
        ("ba", [("Bath", "town")]),
        ("", []),
    ],
)
def test_suggestions_complete_text(client, text, expected):
    assert sorted(suggest(client, q=text)) == sorted(expected)


def test_suggestions_have_limit(client):
    assert len(suggest(client, q="b", limit=1)) == 1
    assert client.get("/suggest", params={"q": "b", "limit": 0}).status_code == 422


@pytest.mark.parametrize(
    "query",
    [
        "",
        "q=b",
        "q=b&limit=2",
        "limit=2",
        "q=",
        "q=b&limit=",
        "q=b&limit=0",
        "q=b&limit=2.0",
        "q=b&limit=%202",
        "q=b&limit=x",
        "q=b&q=t",
        "q=b&limit=2&limit=1",
        "q=b&k=2",
        "q=%F0%9F%AA%91",
        f"q={'b' * 200}",
        f"q={'b' * 201}",
        "q=b;limit=2",
        "&".join(["q=b"] * 300),
    ],
)
def test_direct_suggestions_equal_those_through_fastapi(client, monkeypatch, query):
    direct = client.get(f"/suggest?{query}")
    monkeypatch.setattr(suggest_module, "parse_query", lambda *_: None)

    through = client.get(f"/suggest?{query}")

    assert (direct.status_code, direct.json()) == (through.status_code, through.json())


@pytest.mark.parametrize(
    "query",
    [
        "",
        "q=red+chair",
        "q=%20red%20",
        "q=&limit=2",
        "q=chair&category=Home+%26+Garden&category=Sport",
        "category=",
        "attribute=colour:red&attribute=colour:blue",
        "attribute=red",
        "q=chiar&ignore=spelling&ignore=price",
        "ignore=nothing",
        "has_photo=true&explain=1&literal=yes",
        "has_photo=maybe",
        "min_price=10&max_price=20.5",
        "min_price=nan",
        "min_price=-1",
        "limit=0",
        "limit=5&limit=6",
        "offset=2&sort=price_asc",
        "sort=cheapest",
        "near=Hull&radius_km=10",
        "k=3",
        "unknown=1",
        "q=" + "a" * 201,
        "&".join(["category=Sport"] * 300),
    ],
)
def test_direct_searches_equal_those_through_fastapi(client, monkeypatch, query):
    direct = client.get(f"/search?{query}")
    monkeypatch.setattr(search_module, "parse_query", lambda *_: None)

    through = client.get(f"/search?{query}")

    assert (direct.status_code, direct.json()) == (through.status_code, through.json())


@pytest.fixture
def solved(monkeypatch):
    """Paths of the requests whose parameters FastAPI reads."""
    paths, solve = [], fastapi.routing.solve_dependencies

    async def note(*, request, **options):
        paths.append(request.url.path)
        return await solve(request=request, **options)

    monkeypatch.setattr(fastapi.routing, "solve_dependencies", note)
    return paths


@pytest.mark.parametrize("path", ["/search", "/suggest"])
def test_only_invalid_requests_reach_fastapi(client, solved, path):
    assert client.get(f"{path}?q=red+chair&limit=2").status_code == 200
    assert solved == []

    assert client.get(f"{path}?q=red+chair&limit=0").status_code == 422
    assert solved == [path]


def test_search_runs_with_interpreter_lock(client, monkeypatch):
    build, is_locked = search_module.build_response, []

    def note(*args):
        is_locked.append(INTERPRETER._lock.locked())
        return build(*args)

    monkeypatch.setattr(search_module, "build_response", note)
    ask(client, q="chair")

    assert is_locked == [True]
    assert not INTERPRETER._lock.locked()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", {}),
        (b"q=red+chair&limit=2", {"q": "red chair", "limit": 2}),
        (b"category=A+%26+B&category=C", {"category": ("A & B", "C")}),
        (b"q=%F0%9F%AA%91", {"q": "\U0001fa91"}),
    ],
)
def test_parse_query_returns_valid_parameters(query, expected):
    assert parse_query(query, SearchRequest) == SearchRequest(**expected)


@pytest.mark.parametrize("query", [b"q=", b"unknown=1", b"q=a&q=b", b"limit=0", b"&" * 300])
def test_parse_query_of_other_query_is_none(query):
    assert parse_query(query, SearchRequest) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lamp", "'lamp'"),
        ("King's Lynn", '"King\'s Lynn"'),
        ("a" * 65, f"'{'a' * 64}'"),
        ("\U000108b0" * 64, f"'{chr(92)}U000108b0" + f"{chr(92)}U000108b0" * 5 + "'"),
        ("a" * 63 + "\n", f"'{'a' * 63}'"),
    ],
)
def test_quote_is_a_short_repr(text, expected):
    assert quote(text) == expected


@pytest.mark.parametrize("path", ["/search?{}=1", "/products/{}", "/images/{}"])
def test_errors_repeat_few_characters_of_a_request(client, path):
    detail = client.get(path.format("\U000108b0" * 64)).json()["detail"]

    assert len(detail.partition("; expected")[0]) < 120


@pytest.mark.parametrize("query", ["q=chair", "q=chair&limit=0"])
def test_searches_need_a_configured_key(opened_shop, query):
    settings = Settings(api_keys="shop:a-key-of-the-shop")
    with TestClient(create_app(opened_shop, settings)) as closed:
        answers = [closed.get(f"/search?{query}", headers=headers) for headers in ({}, KEY)]

    assert [answer.status_code for answer in answers] == [401, 422 if "limit" in query else 200]


def test_suggestions_need_a_configured_key(release):
    with TestClient(create_app(release, Settings(api_keys="shop:a-key-of-the-shop"))) as closed:
        answers = [closed.get("/suggest?q=b", headers=headers) for headers in ({}, KEY)]

    # The release has no text search.
    assert [answer.status_code for answer in answers] == [401, 404]
    assert answers[0].headers["www-authenticate"] == "ApiKey"


def test_suggestions_need_text_search(release):
    with TestClient(create_app(release, Settings())) as client:
        assert client.get("/suggest", params={"q": "b"}).status_code == 404


def test_suggestions_answer_head(client):
    answer = client.head("/suggest", params={"q": "b"})

    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("text", ["in " * 66, "£" * 200, "\u0301", "a 🪑 in \ufdfa", "1,111" * 40])
def test_odd_text_is_understood(client, text):
    assert ask(client, q=text)["interpretation"] == []
