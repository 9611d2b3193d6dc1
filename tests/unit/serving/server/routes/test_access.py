"""Authentication, rate limits, capacity and request logs."""

import contextlib
import os
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient
from support.files.image_bytes import flat_webp
from support.predict_client import problem, send

from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.inference.admission import PAUSE, PROMPT_ANSWERS
from fb_marketplace_serving.server.inference.threads import BACKGROUND_NICENESS
from fb_marketplace_serving.server.settings import Settings

KEY = {"X-API-Key": "a-key-of-the-shop"}


@pytest.fixture
def client(release):
    return TestClient(create_app(release, Settings()))


@pytest.fixture
def closed(release):
    return TestClient(create_app(release, Settings(api_keys="shop:a-key-of-the-shop")))


@pytest.mark.parametrize("path", ["/release", "/products/prd-blue", "/images/img-blue"])
@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "a-key-of-the-shoe"}])
def test_configured_keys_are_required(closed, path, headers):
    response = closed.get(path, headers=headers)

    assert problem(response, 401)["type"].endswith(":unauthorized")
    assert response.headers["www-authenticate"] == "ApiKey"
    assert closed.get(path, headers=KEY).status_code == 200


def test_request_without_key_reads_no_photo(closed, paint):
    problem(send(closed, "/predict/image", paint()), 401)

    answer = closed.post("/predict/image", files={"image": paint()}, headers=KEY)
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/healthcheck", "/metrics"])
def test_health_routes_need_no_key(closed, path):
    assert closed.get(path).status_code == 200


def test_rate_limit_gives_429_with_retry_after(release, paint):
    client = TestClient(create_app(release, Settings(rate_limit="2/minute")))
    for _ in range(2):
        assert send(client, "/predict/image", paint()).status_code == 200

    response = send(client, "/predict/image", paint())

    assert problem(response, 429)["type"].endswith(":rate_limited")
    assert 1 <= int(response.headers["retry-after"]) <= 60


def test_full_server_gives_503_at_once(release, paint):
    client = TestClient(create_app(release, Settings(max_in_flight=1)))
    with client.app.state.service._small.admission.slot("other"):
        response = send(client, "/predict/image", paint())

    assert problem(response, 503)["type"].endswith(":over_capacity")
    assert int(response.headers["retry-after"]) >= 1
    assert send(client, "/predict/image", paint()).status_code == 200


def test_client_with_its_share_in_flight_gets_429(release, paint):
    client = TestClient(create_app(release, Settings(max_in_flight=4, client_share=0.5)))
    admission = client.app.state.service._small.admission
    with admission.slot("testclient"), admission.slot("testclient"):
        response = send(client, "/predict/image", paint())

    assert problem(response, 429)["type"].endswith(":client_share")
    assert int(response.headers["retry-after"]) >= 1


def test_client_with_its_share_of_stored_photos_gets_429(release):
    client = TestClient(create_app(release, Settings(max_in_flight=1, client_share=0.25)))
    reads = client.app.state.service._reads
    with reads.slot("testclient"), reads.slot("testclient"):
        response = client.get("/images/img-red")

    assert problem(response, 429)["type"].endswith(":client_share")
    assert client.get("/images/img-red").status_code == 200


@pytest.mark.parametrize("busy", ["_searches", "_large", "_small"])
def test_full_lane_leaves_the_others_free(release, paint, busy):
    client = TestClient(create_app(release, Settings(max_in_flight=1)))
    service = client.app.state.service
    photos = {"_small": paint(), "_large": flat_webp(1800, 1800)}
    lane = getattr(service, busy)

    with getattr(lane, "admission", lane).slot("other"):
        statuses = {
            name: send(client, "/predict/image", photo).status_code
            for name, photo in photos.items()
        }

    # The header of a large photo is read only while there is room for small ones.
    full = {"_small": {"_small", "_large"}}.get(busy, {busy})
    assert statuses == {name: 503 if name in full else 200 for name in photos}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities per thread")
@pytest.mark.parametrize("pool", ["_searchers", "_small"])
@pytest.mark.parametrize("work", ["large photo", "release", None])
def test_flood_has_low_priority_while_there_is_other_work(release, pool, work):
    service = create_app(release, Settings()).state.service
    threads = getattr(service, pool)
    threads = getattr(threads, "threads", threads)
    threads._add_seconds(60)
    service._watcher = SimpleNamespace(is_opening=work == "release", close=lambda: None)
    admission = service._large.admission

    with admission.slot("other") if work == "large photo" else contextlib.nullcontext():
        niceness = threads.submit(
            lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        ).result()

    service.close()
    assert (niceness >= BACKGROUND_NICENESS) is (work is not None)


@pytest.mark.parametrize("program", ["/bin/false", "/none"])
def test_failing_decoder_gives_503(release, monkeypatch, program):
    monkeypatch.setattr("sys.executable", program)
    client = TestClient(create_app(release, Settings()))

    response = send(client, "/predict/image", flat_webp(1800, 1800))

    assert problem(response, 503)["type"].endswith(":decoder_failed")
    assert response.headers["retry-after"] == "1"


def test_photo_over_time_limit_gives_503(release, paint, monkeypatch):
    encode = release.encoder.encode_stretched
    monkeypatch.setattr(
        type(release.encoder),
        "encode_stretched",
        lambda _, photos: time.sleep(0.5) or encode(photos),
    )
    client = TestClient(create_app(release, Settings(request_timeout_seconds=0.1)))

    response = send(client, "/predict/image", paint())

    assert problem(response, 503)["type"].endswith(":deadline")
    assert "retry-after" in response.headers


def test_request_id_is_kept(client):
    assert client.get("/livez", headers={"X-Request-ID": "a-1"}).headers["x-request-id"] == "a-1"


def test_missing_or_unsafe_request_id_is_replaced(client):
    created = {
        client.get("/livez", headers=headers).headers["x-request-id"]
        for headers in ({}, {}, {"X-Request-ID": 'a" forged="b'}, {"X-Request-ID": "a" * 65})
    }

    assert len(created) == 4
    assert all(len(item) == 32 for item in created)


def test_request_log_has_no_keys_or_photos(closed, paint, caplog):
    with caplog.at_level("INFO", logger="fb_serve"):
        closed.post(
            "/predict/similar_images?min_price=4.123", files={"image": paint()}, headers=KEY
        )

    output = caplog.records[-1].fields
    assert output["path"] == "/predict/similar_images"
    assert output["status"] == 200
    assert output["release"] == "v1"
    assert output["key"] == "shop"
    assert "a-key" not in str(output)
    assert "4.123" not in str(output)


def test_other_origins_are_refused_by_cors(client, paint):
    response = client.get("/healthcheck", headers={"Origin": "https://elsewhere.example"})

    assert "access-control-allow-origin" not in response.headers


def test_allowed_origin_is_accepted_by_cors(release):
    settings = Settings(cors_origins="https://shop.example, https://other.example")
    client = TestClient(create_app(release, settings))

    response = client.get("/healthcheck", headers={"Origin": "https://shop.example"})

    assert response.headers["access-control-allow-origin"] == "https://shop.example"


def test_security_headers_are_set(client):
    headers = client.get("/").headers

    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
    ],
)
def test_client_of_ipv6_is_its_network(release, address, name):
    """A client may use any address of its network, each with a rate limit of its own."""
    client = TestClient(create_app(release, Settings(rate_limit="1/day")), client=(address, 1))
    service = client.app.state.service
    client.get("/search?q=chair")

    assert service.rate_limit.hit(name) is not None


def test_pause_of_a_slowed_client_is_not_in_the_duration(release):
    client = TestClient(create_app(release, Settings()))
    started = time.monotonic()
    for _ in range(PROMPT_ANSWERS + 1):
        client.get("/unknown")
    seconds = time.monotonic() - started

    durations = client.app.state.service.metrics.request_seconds.labels("unmatched")

    assert durations._sum.get() <= seconds - PAUSE
