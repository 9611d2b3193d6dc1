"""Listings and photos over HTTP: HEAD, and photos that a client has already."""

import pytest
from fastapi.testclient import TestClient

from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.settings import Settings

PHOTO = "/images/img-red"


@pytest.fixture(scope="module")
def client(opened_shop):
    with TestClient(create_app(opened_shop, Settings())) as client:
        yield client


def test_head_answers_like_get_without_body_on_every_route(client):
    paths = [
        path for path, item in client.get("/openapi.json").json()["paths"].items() if "get" in item
    ]
    ids = {"product_id": "p-chair", "image_id": "img-red"}
    for path in ["/", "/docs", "/redoc", "/openapi.json", "/web/app.js", *paths]:
        url = path.format(**ids)
        get, head = client.get(url), client.head(url)

        assert (head.status_code, head.content) == (200, b""), url
        assert head.headers.keys() == get.headers.keys(), url
        if path not in {"/metrics", "/search"}:  # Their lengths vary.
            assert head.headers["content-length"] == get.headers["content-length"], url


def test_head_of_unknown_listing_is_404(client):
    assert client.head("/products/none").status_code == 404


def test_head_of_post_route_is_405(client):
    answer = client.head("/predict/image")

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_photo_has_tag_of_its_content(client):
    tags = [client.get(f"/images/img-{name}").headers["etag"] for name in ("red", "green", "red")]

    assert tags[0] == tags[2] != tags[1]


@pytest.mark.parametrize("header", ["{}", "W/{}", '"other", {}', "*"])
def test_current_photo_is_not_sent_again(client, header):
    first = client.get(PHOTO)

    answer = client.get(PHOTO, headers={"If-None-Match": header.format(first.headers["etag"])})

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == first.headers["etag"]
    assert answer.headers["cache-control"] == first.headers["cache-control"]


def test_other_photo_is_sent(client):
    answer = client.get(PHOTO, headers={"If-None-Match": '"other"'})

    assert answer.status_code == 200
    assert answer.content.startswith(b"\xff\xd8")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthcheck", "/metrics"])
def test_probes_may_have_any_parameter(client, path):
    assert client.get(f"{path}?verbose=1").status_code == 200


@pytest.mark.parametrize("path", ["/release", "/products/p-chair", PHOTO])
def test_route_without_parameters_refuses_all(client, path):
    answer = client.get(f"{path}?verbose=1")

    assert answer.status_code == 422
    assert "'verbose'" in answer.json()["detail"]
