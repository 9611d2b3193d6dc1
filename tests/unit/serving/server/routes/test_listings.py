"""Listings and photos over HTTP: HEAD, and photos that a client has already."""

import pytest
from fastapi.testclient import TestClient
from support.builders.small_release import draw_display
from support.builders.small_search import SHOP, TYPICAL

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


def test_display_size_returns_the_rendition(client):
    small, large = client.get(PHOTO), client.get(PHOTO, params={"size": 1024})

    assert large.content == draw_display("img-red")
    assert client.get(PHOTO, params={"size": 256}).content == small.content != large.content
    assert large.headers["etag"] != small.headers["etag"]
    tag = {"If-None-Match": large.headers["etag"]}
    assert client.get(PHOTO, params={"size": 1024}, headers=tag).status_code == 304
    assert client.get(PHOTO, headers=tag).status_code == 200
    assert client.head(f"{PHOTO}?size=1024").headers["content-length"] == str(len(large.content))


def test_photo_without_rendition_is_canonical_in_every_size(client):
    sizes = [client.get("/images/img-green", params={"size": size}).content for size in (256, 1024)]

    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("size", ["512", "-1", "large", "1024.5"])
def test_unknown_size_is_422(client, size):
    answer = client.get(PHOTO, params={"size": size})

    assert answer.status_code == 422
    assert "256 or 1024" in answer.json()["detail"]


def test_product_has_all_that_a_page_shows(client):
    product = client.get("/products/p-chair").json()

    assert product["description"] == "About: Red chair"
    assert product["image_ids"] == ["img-red"]
    assert product["photos"] == [
        {"image_id": "img-red", "sizes": [256, 1024]}
        | dict.fromkeys(("format", "width", "height", "copies"))
    ]
    assert (product["typical_price"]["low"], product["typical_price"]["high"]) == TYPICAL
    assert product["duplicates"] == ["p-copy"]
    assert product["provenance"]["split"] == "train"
    hit = next(
        hit
        for hit in client.get("/search?q=red+chair").json()["hits"]
        if hit["product_id"] == "p-chair"
    )
    assert product.items() >= {name: hit[name] for name in ("typical_price", "notes")}.items()


def test_similar_listings_are_of_other_items(client):
    similar = client.get("/similar_listings/p-chair").json()["listings"]

    ids = [listing["product_id"] for listing in similar]
    assert sorted(ids) == sorted({*SHOP} - {"p-chair", "p-copy"})
    assert client.get("/similar_listings/p-chair?limit=2").json()["listings"] == similar[:2]


def test_listing_without_photo_has_similar_ones(client):
    similar = client.get("/similar_listings/p-plain").json()["listings"]

    assert "p-table" in [listing["product_id"] for listing in similar]


@pytest.mark.parametrize("query", ["limit=0", "limit=51", "limits=3"])
def test_similar_listings_have_a_bounded_limit(client, query):
    assert client.get(f"/similar_listings/p-chair?{query}").status_code == 422


def test_release_without_text_search_has_no_similar_listings(release):
    with TestClient(create_app(release, Settings())) as client:
        answer = client.get("/similar_listings/prd-red")
        product = client.get("/products/prd-red").json()

    assert answer.status_code == 404
    assert "without text search" in answer.json()["detail"]
    assert (product["provenance"], product["typical_price"], product["duplicates"]) == (
        None,
        None,
        [],
    )


def test_similar_listings_of_unknown_listing_are_404(client):
    assert client.get("/similar_listings/none").status_code == 404


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthcheck", "/metrics"])
def test_probes_may_have_any_parameter(client, path):
    assert client.get(f"{path}?verbose=1").status_code == 200


@pytest.mark.parametrize("path", ["/release", "/products/p-chair", PHOTO])
def test_route_without_parameters_refuses_all(client, path):
    answer = client.get(f"{path}?verbose=1")

    assert answer.status_code == 422
    assert "'verbose'" in answer.json()["detail"]
