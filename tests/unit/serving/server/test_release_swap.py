"""Responses after another release became current."""

import gc
import weakref

import pytest
from fastapi.testclient import TestClient
from support.builders.small_search import SHOP, SHOP_PHOTOS
from support.search_client import ONCE, ask, find_ids, refusal, send
from support.waiting import until

from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.pointer import load_pointer, publish
from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.service import ReleaseSource, Service
from fb_marketplace_serving.server.settings import Settings
from fb_marketplace_serving.storage.lake import Lake


def test_next_release_updates_every_route(shop, make_shop, canonical_photos, paint):
    changed = dict(SHOP) | {"p-table": ("Pine desk", 99.0, "Office / Desks", "Bath")}
    del changed["p-lamp"]
    photos_of = dict(SHOP_PHOTOS) | {"img-new": "p-table"}
    del photos_of["img-blue"], photos_of["img-green"]
    new = canonical.canonicalize(paint((240, 120, 10)))
    source = ReleaseSource(
        lambda: load_pointer(Lake(shop)), lambda pointer: Release.open(shop, pointer.version)
    )
    app = create_app(Release.open(shop), Settings(release_poll_seconds=0.01), source)

    with TestClient(app) as client:
        before = client.get("/images/img-blue"), client.get("/images/img-green")
        assert [answer.status_code for answer in before] == [200, 200]
        assert "p-lamp" in find_ids(client, q="blue lamp")
        assert find_ids(client, category="Home & Garden / Lamps") == ["p-lamp"]

        next_run = make_shop("v2", changed, photos_of, "next", canonical_photos | {"img-new": new})
        publish(Lake(shop), next_run)
        until(lambda: client.get("/healthcheck").json()["release"] == "v2")

        # Hits.
        for params in ({}, {"q": "blue lamp"}, {"q": "oak table"}, {"sort": "price_asc"}):
            body = ask(client, **params)
            hits = {hit["product_id"]: hit for hit in body["hits"]}
            assert body["release"] == "v2"
            assert hits.keys() == ONCE - {"p-lamp"}
            desk = hits["p-table"]
            assert (desk["title"], desk["price"]) == ("Pine desk", 99)
            assert (desk["category_path"], desk["town"]) == ("Office / Desks", "Bath")
            assert desk["image_id"] == "img-new"
            output = [
                *desk["typical_price"]["comparables"],
                *(id_ for hit in hits.values() for id_ in hit["duplicates"]),
            ]
            assert "p-lamp" not in output
        by_words = {
            hit["product_id"]
            for hit in ask(client, q="oak lamp pine")["hits"]
            if any(place["source"] == "bm25" for place in hit["sources"])
        }
        assert by_words == {"p-plain", "p-table"}
        by_photo = send(client, canonical_photos["img-green"])["hits"]
        assert {hit["image_id"] for hit in by_photo} == {
            "img-red",
            "img-yellow",
            "img-grey",
            "img-new",
        }
        assert find_ids(client, min_price=99, max_price=99) == ["p-table"]
        assert find_ids(client, near="Bath", radius_km=5) == ["p-table"]
        # Facets.
        body = ask(client)
        assert {item["path"]: item["count"] for item in body["categories"]} == {
            "Home & Garden": 4,
            "Office": 1,
            "Sport": 1,
        }
        assert {item["low"]: item["count"] for item in body["prices"]}[50] == 1
        assert "Lamps" in refusal(
            client.get("/search?category=Home %26 Garden / Lamps"), release="v2"
        )
        # Listings.
        assert client.get("/products/p-lamp").status_code == 404
        product = client.get("/products/p-table").json()
        assert (product["title"], product["price"]) == ("Pine desk", 99)
        assert product["image_ids"] == ["img-new"]
        # Photos.
        assert client.get("/images/img-blue").status_code == 404
        assert client.get("/images/img-green").status_code == 404
        assert client.get("/images/img-new").content == new


@pytest.fixture
def collections():
    """Record the garbage collections. Automatic ones are off, so the server asks for each."""
    generations = []

    def count(phase, details):
        if phase == "start":
            generations.append(details["generation"])

    gc.disable()
    gc.callbacks.append(count)
    yield generations
    gc.callbacks.remove(count)
    gc.enable()


def test_replaced_release_is_freed_without_a_garbage_collection(shop, collections):
    service = Service(Release.open(shop), Settings())
    first = service.current
    parts = [weakref.ref(part) for part in (first.store, first.engine, first.queries)]
    del first

    service._swap(service._prepare(Release.open(shop)))

    assert [part() for part in parts] == [None, None, None]
    assert collections == []
    service.close()
