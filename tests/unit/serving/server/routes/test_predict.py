"""Prediction routes, resources by id and metadata."""

from dataclasses import replace
from urllib.parse import quote

import numpy as np
import pytest
from fastapi.testclient import TestClient
from support.predict_client import PREDICTIONS, problem, send

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.interpreter_lock import INTERPRETER
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.pointer import publish
from fb_marketplace_serving.search import candidates
from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.settings import Settings
from fb_marketplace_serving.storage.lake import Lake


@pytest.fixture
def client(release):
    return TestClient(create_app(release, Settings()))


def test_healthcheck_names_release(client):
    assert client.get("/healthcheck").json() == {"status": "ok", "release": "v1"}


def test_livez_returns_alive(client):
    assert client.get("/livez").json() == {"status": "alive", "release": "v1"}


def test_readyz_returns_ready_until_shutdown(client):
    assert client.get("/readyz").json() == {
        "status": "ready",
        "release": "v1",
        "pointer_age_seconds": None,
        "rejected": None,
    }

    client.app.state.service.draining = True

    assert problem(client.get("/readyz"), 503)["type"].endswith(":draining")


def test_metrics_count_requests_by_route_and_status(client, paint):
    send(client, "/predict/image", paint())
    client.get("/products/nothing-there")
    client.get("/nowhere/at/all")

    lines = client.get("/metrics").text.splitlines()

    assert 'http_requests_total{method="POST",route="/predict/image",status="200"} 1.0' in lines
    assert (
        'http_requests_total{method="GET",route="/products/{product_id}",status="404"} 1.0' in lines
    )
    assert 'http_requests_total{method="GET",route="unmatched",status="404"} 1.0' in lines
    assert 'fb_release_info{version="v1"} 1.0' in lines
    for stage in ("upload", "decode", "wait", "encode"):
        assert f'fb_stage_seconds_count{{stage="{stage}"}} 1.0' in lines


def test_release_is_described_without_its_files(client):
    body = client.get("/release").json()

    assert body["version"] == "v1"
    assert body["labels"] == ["Reds", "Greens", "Blues"]
    assert body["categories"] == ["Home & Garden"]
    assert body["searchable"] is False
    assert body["metrics"] == {"accuracy": 0.5}
    assert "canaries" not in body


@pytest.mark.parametrize("prefix", ["shop/", "a/b c/", "50% off #1?/", "é/", "+/"])
def test_ids_with_slashes_and_signs_are_served(make_release, tmp_path, prefix):
    publish(Lake(str(tmp_path)), make_release("v1", prefix=prefix))
    client = TestClient(create_app(Release.open(str(tmp_path)), Settings()))
    whole, parts = quote(f"{prefix}img-red", safe=""), quote(f"{prefix}img-red", safe="/")

    assert client.get(f"/images/{whole}").content == client.get(f"/images/{parts}").content
    listing = client.get(f"/products/{quote(f'{prefix}prd-red', safe='')}").json()
    assert listing["image_ids"] == [f"{prefix}img-red"]


@pytest.mark.parametrize("path", ["..%2Fhealthcheck", "%2Fetc%2Fpasswd", "..%2F..%2Fmodel", "a%00"])
def test_id_is_no_path(client, path):
    assert problem(client.get(f"/images/{path}"), 404)
    assert problem(client.get(f"/products/{path}"), 404)


def test_image_returns_most_probable_category(client, paint):
    body = send(client, "/predict/image", paint((20, 220, 20))).json()

    assert body["category"] == "Greens"
    assert body["confidence"] == max(body["probabilities"].values())
    assert list(body["probabilities"]) == ["Reds", "Greens", "Blues"]
    assert sum(body["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("threshold", "abstained"), [(0.2, False), (1.0, True)])
def test_image_below_threshold_abstains(release, paint, threshold, abstained):
    abstention = release.manifest.abstention.model_copy(update={"threshold": threshold})
    manifest = release.manifest.model_copy(update={"abstention": abstention})
    client = TestClient(create_app(replace(release, manifest=manifest), Settings()))

    assert send(client, "/predict/image", paint()).json()["abstained"] is abstained


def test_feature_embedding_is_of_canonical_photo(client, release, paint):
    photo = paint((90, 10, 60), size=(500, 300))

    body = send(client, "/predict/feature_embedding", photo).json()

    pixels = canonical.decode_canonical(canonical.canonicalize(photo))
    expected = release.encoder.encode(pixels[np.newaxis]).embeddings[0]
    np.testing.assert_allclose(body["embedding"], expected, atol=1e-6)


def test_similar_images_starts_with_the_same_photo(client, canonical_photos):
    hits = send(client, "/predict/similar_images", canonical_photos["img-blue"]).json()["hits"]

    assert hits[0] == {
        "image_id": "img-blue",
        "product_id": "prd-blue",
        "title": "A blue chair",
        "price": None,
        "currency": "GBP",
        "category": "Home & Garden",
        "category_path": "Home & Garden / Chairs",
        "town": "York",
        "county": None,
        "price_flag": None,
        "created_at": "2022-01-01T00:00:00Z",
        "score": pytest.approx(1.0, abs=1e-6),
    }
    assert len(hits) == 5
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)


def test_similar_images_score_is_cosine(client, release, canonical_photos):
    hits = send(client, "/predict/similar_images", canonical_photos["img-blue"]).json()["hits"]

    by_id = {
        name: release.encoder.encode(canonical.decode_canonical(jpeg)[np.newaxis]).embeddings[0]
        for name, jpeg in canonical_photos.items()
    }
    for hit in hits:
        cosine = by_id["img-blue"] @ by_id[hit["image_id"]]
        assert hit["score"] == pytest.approx(cosine, abs=1e-5)


def test_similar_images_returns_limit_hits(client, paint):
    assert len(send(client, "/predict/similar_images?limit=2", paint()).json()["hits"]) == 2


@pytest.mark.parametrize(("minimum", "expected"), [(1, False), (10**6, True)])
def test_similar_images_of_many_listings_releases_interpreter(
    client, paint, monkeypatch, minimum, expected
):
    search, is_locked = Index.search, []

    def note(*args):
        is_locked.append(INTERPRETER._lock.locked())
        return search(*args)

    monkeypatch.setattr(candidates, "MIN_RELEASED_LISTINGS", minimum)
    monkeypatch.setattr(Index, "search", note)
    result(client, paint("red"), "limit=1")

    assert is_locked == [expected]


def result(client, photo, query):
    hits = send(client, f"/predict/similar_images?{query}", photo).json()["hits"]
    return {hit["product_id"] for hit in hits}


def test_similar_images_filters_by_price(client, paint):
    assert result(client, paint(), "min_price=10&max_price=20.5") == {"prd-red", "prd-green"}
    assert result(client, paint(), "min_price=2000") == set()


def test_similar_images_filters_by_category(client, paint):
    assert len(result(client, paint(), "category=Home%20%26%20Garden")) == 5

    body = problem(send(client, "/predict/similar_images?category=Boats", paint()), 422)

    assert "'Boats'" in body["detail"]
    assert "Home & Garden" in body["detail"]


def test_product_has_its_photos(client):
    assert client.get("/products/prd-blue").json() == {
        "product_id": "prd-blue",
        "title": "A blue chair",
        "price": None,
        "currency": "GBP",
        "category": "Home & Garden",
        "category_path": "Home & Garden / Chairs",
        "town": "York",
        "county": None,
        "price_flag": None,
        "created_at": "2022-01-01T00:00:00Z",
        "description": "About: A blue chair",
        "image_ids": ["img-blue"],
        "photos": [
            {"image_id": "img-blue", "sizes": [256]}
            | dict.fromkeys(("format", "width", "height", "copies"))
        ],
        "typical_price": None,
        "notes": [],
        "duplicates": [],
        "provenance": None,
    }


def test_image_is_returned_as_canonical_photo(client, canonical_photos):
    response = client.get("/images/img-blue")

    assert response.headers["content-type"] == "image/jpeg"
    assert response.content == canonical_photos["img-blue"]


@pytest.mark.parametrize("path", ["/products/x", "/images/x"])
def test_unknown_id_gives_404(client, path):
    assert "'x'" in problem(client.get(path), 404)["detail"]


@pytest.mark.parametrize("path", ["/", "/healthcheck", "/release", "/openapi.json"])
def test_every_response_names_release(client, path):
    response = client.get(path)

    assert response.status_code == 200
    assert response.headers["x-release"] == "v1"


def test_page_loads_nothing_from_other_hosts(client):
    page = client.get("/")

    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "//cdn" not in page.text


def test_openapi_describes_upload_and_errors(client):
    for path in PREDICTIONS:
        operation = client.get("/openapi.json").json()["paths"][path]["post"]
        form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert form["required"] == ["image"]
        assert operation["responses"].keys() == {
            "200",
            "400",
            "404",
            "408",
            "413",
            "415",
            "422",
            "429",
            "503",
        }
        assert "application/problem+json" in operation["responses"]["415"]["content"]
