"""Authentication, rate limits, capacity and concurrency of searches."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from support.search_client import ask, refusal

from fb_marketplace_serving.search.engine import SearchEngine
from fb_marketplace_serving.server import search_response
from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.schemas.search import SearchResponse
from fb_marketplace_serving.server.settings import Settings


@pytest.fixture
def client(opened_shop):
    return TestClient(create_app(opened_shop, Settings()))


def test_search_requires_configured_key(opened_shop, canonical_photos):
    client = TestClient(create_app(opened_shop, Settings(api_keys=f"page:{'k' * 20}")))
    photo = {"image": canonical_photos["img-red"]}

    assert refusal(client.get("/search"), 401)
    assert refusal(client.post("/search", files=photo), 401)
    headers = {"X-API-Key": "k" * 20}
    assert client.get("/search", headers=headers).status_code == 200
    assert client.post("/search", headers=headers, files=photo).status_code == 200


def test_search_rate_limit_gives_429_with_retry_after(opened_shop):
    client = TestClient(create_app(opened_shop, Settings(rate_limit="2/minute")))

    answers = [client.get("/search") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["retry-after"]) >= 1


def test_full_server_gives_503_at_once(opened_shop):
    client = TestClient(create_app(opened_shop, Settings(max_in_flight=1)))
    with client.app.state.service._searches.slot("other"):
        answer = client.get("/search")

    assert answer.status_code == 503
    assert answer.json()["type"].endswith(":over_capacity")


def test_search_over_time_limit_gives_503(opened_shop, monkeypatch):
    monkeypatch.setattr(SearchEngine, "search", lambda *_, **__: time.sleep(0.5))
    client = TestClient(create_app(opened_shop, Settings(request_timeout_seconds=0.05)))

    answer = client.get("/search")

    assert answer.status_code == 503
    assert answer.json()["type"].endswith(":deadline")


def test_metrics_time_search_stages_with_their_budgets(client):
    ask(client, q="red chair")

    lines = client.get("/metrics").text.splitlines()

    for stage in ("text", "retrieve", "rank"):
        assert f'fb_stage_seconds_count{{stage="{stage}"}} 1.0' in lines
        assert any(
            line.startswith(f'fb_stage_budget_seconds{{stage="{stage}"}} 0.0') for line in lines
        )
    assert 'http_requests_total{method="GET",route="/search",status="200"} 1.0' in lines


def test_search_never_runs_on_the_event_loop(client, monkeypatch):
    threads = {}

    def watched(owner, name):
        inner = getattr(owner, name)

        def work(*given, **named):
            threads[name] = threading.current_thread().name
            return inner(*given, **named)

        monkeypatch.setattr(owner, name, work)

    watched(search_response, "_query")
    watched(SearchEngine, "search")
    watched(search_response, "_hit")
    watched(SearchResponse, "model_dump_json")

    ask(client, q="red chair", explain=True)

    assert len(threads) == 4
    assert all(name.startswith("search") for name in threads.values())


def test_running_search_blocks_no_other_request(opened_shop, monkeypatch):
    going_on, over = threading.Event(), threading.Event()

    def slow(*_, **__):
        going_on.set()
        over.wait(10)
        raise RuntimeError

    monkeypatch.setattr(SearchEngine, "search", slow)
    with TestClient(create_app(opened_shop, Settings())) as client, ThreadPoolExecutor(1) as pool:
        search = pool.submit(client.get, "/search")
        assert going_on.wait(10)
        assert client.get("/livez").status_code == 200
        assert not search.done()
        over.set()
        assert search.result().status_code == 500


def test_concurrent_searches_equal_sequential_ones(serve, shop, canonical_photos):
    process = serve("--lake", shop, "--port", "0", FB_LOG_LEVEL="error", FB_MAX_IN_FLIGHT="64")
    address = process.stdout.readline().split()[-1]
    query = [
        {"q": words, "explain": True, **more}
        for words in ("red chair", "blue", "old oak table", "")
        for more in (
            {},
            {"near": "Leeds", "sort": "distance"},
            {"diversity": 0.5},
            {"category": "Sport"},
        )
    ]

    def ask_all(seed):
        answers = [None] * (len(query) * 2)
        with httpx.Client(base_url=address, timeout=60) as client:
            for place in np.random.default_rng(seed).permutation(len(answers)).tolist():
                params = query[place // 2]
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
