import json
import threading

import pytest
from fastapi.testclient import TestClient

from fb_marketplace_serving.feedback.events import ClickLine, SearchLine
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.server import feedback_writer
from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.settings import Settings

KEY = "k" * 20
JSON = {"Content-Type": "application/json"}
OTHER_ID = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def opened(shop_in_common):
    return Release.open(shop_in_common)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "feedback"


@pytest.fixture
def start(opened, folder):
    """Start a server that writes down searches and clicks; ``stop`` waits until all is written."""
    started = []

    def start(**settings):
        client = TestClient(create_app(opened, Settings(**{"feedback_dir": folder} | settings)))
        started.append(client)
        return client

    yield start
    for client in started:
        stop(client)


def stop(client):
    client.app.state.service.close()


def ask(client, **query):
    answer = client.get("/search", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def click(client, product_id="p-lamp", search_id=..., **values):
    if search_id is ...:
        search_id = client.app.state.service.search_ids.issue()
    return client.post("/clicks", json={"search_id": search_id, "product_id": product_id}, **values)


def written(folder, kind, model):
    return [
        model.model_validate_json(line)
        for file in sorted(folder.glob(f"{kind}-*.jsonl"))
        for line in file.read_bytes().splitlines()
    ]


def test_nothing_is_written_without_feedback_folder(opened, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    client = TestClient(create_app(opened, Settings()))

    assert ask(client, q="red chair")["search_id"] is None
    assert click(client).status_code == 404
    assert "/clicks" not in client.get("/openapi.json").json()["paths"]
    assert sorted(tmp_path.rglob("*")) == before


def test_empty_feedback_setting_is_none():
    assert Settings(feedback_dir="").feedback_dir is None


def test_text_search_is_logged_with_query_and_hits(start, folder):
    client = start()
    query = {"q": " red chair ", "limit": 2, "offset": 1, "max_price": 500, "near": "Leeds"}
    body = ask(
        client, **query, radius_km=100, category=["Home & Garden"], sort="price_asc", has_photo=True
    )
    stop(client)

    (line,) = written(folder, "searches", SearchLine)
    assert line.search_id == body["search_id"]
    assert (line.release, line.words, line.offset) == ("v1", "red chair", 1)
    assert line.filters.model_dump() == {
        "categories": ["Home & Garden"],
        "min_price": None,
        "max_price": 500.0,
        "near": "Leeds",
        "radius_km": 100.0,
        "has_photo": True,
        "attributes": [],
        "sort": "price_asc",
        "diversity": 0.0,
    }
    assert line.product_ids == [hit["product_id"] for hit in body["hits"]]
    assert line.product_ids


def test_prices_and_places_of_text_are_logged_as_filters(start, folder):
    client = start()
    ask(client, q="red chiar under £50 near Leeds")
    stop(client)

    (line,) = written(folder, "searches", SearchLine)
    assert line.words == "red chair"
    assert (line.filters.max_price, line.filters.near, line.filters.radius_km) == (50, "Leeds", 25)


def test_each_page_has_its_own_search_id(start):
    client = start()

    assert ask(client, q="chair")["search_id"] != ask(client, q="chair")["search_id"]


def test_photo_search_is_not_logged(start, folder, paint):
    client = start()

    nothing = ask(client)
    for query in ({}, {"q": "red chair"}):
        photo = client.post("/search", params=query, files={"image": ("photo.jpg", paint())})
        assert photo.json()["search_id"] is None
    stop(client)

    assert nothing["search_id"] is None
    assert list(folder.iterdir()) == []


def test_explained_search_is_not_logged(start, folder):
    client = start()

    assert ask(client, q="red chair", explain=True)["search_id"] is None
    stop(client)

    assert list(folder.iterdir()) == []


def test_click_is_logged(start, folder):
    client = start()
    search_id = ask(client, q="blue lamp")["search_id"]

    answer = click(client, "p-lamp", search_id)
    stop(client)

    assert (answer.status_code, answer.json()) == (200, {"recorded": True})
    (line,) = written(folder, "clicks", ClickLine)
    assert (line.search_id, line.product_id) == (search_id, "p-lamp")


def test_keys_and_addresses_are_not_logged(start, folder):
    client = start(api_keys=f"page:{KEY}")
    headers = {"X-API-Key": KEY, "X-Request-ID": "mine", "User-Agent": "someone"}
    client.get("/search", params={"q": "red chair"}, headers=headers)
    click(client, headers=headers)
    stop(client)

    lines = [
        json.loads(line) for file in folder.iterdir() for line in file.read_bytes().splitlines()
    ]
    assert sorted(map(sorted, lines)) == [
        ["filters", "offset", "product_ids", "release", "search_id", "time", "words"],
        ["product_id", "search_id", "time"],
    ]


@pytest.mark.parametrize("search_id", ["", "a" * 31, "A" * 32, "g" * 32, "../" + "a" * 29, 7, None])
def test_invalid_search_id_is_rejected(start, search_id):
    answer = click(start(), search_id=search_id)

    assert answer.status_code == 422
    assert "search_id" in answer.json()["detail"]


def test_click_on_unknown_listing_gives_404(start, folder):
    client = start()

    answer = click(client, "p-gone")
    stop(client)

    assert answer.status_code == 404
    assert "p-gone" in answer.json()["detail"]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"search_id": 1, "more": 2}'])
def test_invalid_click_is_rejected(start, body):
    assert start().post("/clicks", content=body, headers=JSON).status_code == 422


def test_click_body_over_limit_is_rejected(start):
    assert start().post("/clicks", content=b" " * 2000, headers=JSON).status_code == 413


def test_click_on_search_that_the_server_did_not_issue_gives_404(start, folder):
    client = start()

    answer = click(client, search_id=OTHER_ID)
    stop(client)

    assert answer.status_code == 404
    assert answer.json()["type"].endswith(":unknown_search")
    assert list(folder.iterdir()) == []


def test_servers_with_the_same_key_take_clicks_of_each_other(start):
    first, second = start(feedback_key=KEY), start(feedback_key=KEY)

    assert click(first, search_id=ask(second, q="lamp")["search_id"]).status_code == 200


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_click_of_a_form_is_rejected(start, content_type):
    """Pages of other sites can send these without asking."""
    client = start()
    body = {"search_id": client.app.state.service.search_ids.issue(), "product_id": "p-lamp"}

    answer = client.post(
        "/clicks", content=json.dumps(body), headers={"Content-Type": content_type}
    )

    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "https://behind-proxy.example", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"}, 200),
        ({"Origin": "http://testserver", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_click_of_another_site_is_rejected(start, headers, status):
    client = start(cors_origins="https://shop.example")

    assert click(client, headers=headers).status_code == status


def test_searches_and_clicks_of_a_client_are_limited(start):
    client = start(feedback_max_events_per_client=3)

    ids = [ask(client, q="red chair")["search_id"] for _ in range(2)]
    values = [click(client, search_id=ids[0]).json()["recorded"] for _ in range(2)]

    assert all(ids)
    assert values == [True, False]
    assert ask(client, q="red chair")["search_id"] is None


def test_click_requires_key(start):
    client = start(api_keys=f"page:{KEY}")

    assert click(client).status_code == 401
    assert click(client, headers={"X-API-Key": KEY}).status_code == 200


def test_clicks_count_towards_rate_limit(start):
    client = start(rate_limit="1/minute")

    assert [click(client).status_code for _ in range(2)] == [200, 429]


def test_search_with_full_queue_has_no_search_id(start, monkeypatch):
    existing = threading.Event()
    monkeypatch.setattr(feedback_writer, "append_line", lambda *_: existing.wait(20))
    monkeypatch.setattr(feedback_writer.FeedbackWriter.__init__, "__defaults__", (2, None))
    client = start()

    ids = [ask(client, q="red chair")["search_id"] for _ in range(4)]
    values = click(client).json()
    existing.set()
    stop(client)

    assert [item is None for item in ids] == [False, False, True, True]
    assert values == {"recorded": False}
    lines = client.get("/metrics").text.splitlines()
    assert 'fb_feedback_events_total{outcome="dropped"} 3.0' in lines
    assert 'fb_feedback_events_total{outcome="written"} 2.0' in lines


def test_failing_feedback_folder_fails_no_request(start, folder):
    client = start()
    folder.rmdir()
    folder.write_text("in the way")

    assert ask(client, q="red chair")["hits"]
    assert click(client).status_code == 200
    stop(client)

    lines = client.get("/metrics").text.splitlines()
    assert 'fb_feedback_events_total{outcome="failed"} 2.0' in lines


def test_openapi_describes_clicks(start):
    document = start().get("/openapi.json").json()

    operation = document["paths"]["/clicks"]["post"]
    schema = document["components"]["schemas"]["Click"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/Click"}
    assert set(schema["required"]) == {"search_id", "product_id"}
    assert {"200", "404", "413", "422", "429"} <= operation["responses"].keys()


@pytest.mark.parametrize("values", ["s3://bucket/feedback", "a file"])
def test_unwritable_feedback_folder_stops_startup(serve, lake, tmp_path, values):
    if values == "a file":
        values = str(tmp_path / "file")
        (tmp_path / "file").write_text("")

    process = serve("--lake", lake, "--port", "0", FB_FEEDBACK_DIR=values)
    out, error = process.communicate(timeout=60)

    assert (process.returncode, out, error.count("\n")) == (2, "", 1)
    assert "FB_FEEDBACK_DIR" in error
