import io
import time
from dataclasses import replace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from fb_marketplace_serving import photos
from fb_marketplace_serving.api import create_app
from fb_marketplace_serving.settings import Settings

PREDICTIONS = ["/predict/image", "/predict/feature_embedding", "/predict/similar_images"]


@pytest.fixture
def client(release):
    return TestClient(create_app(release, Settings()))


def send(client, path, data, name="photo.jpg"):
    return client.post(path, files={"image": (name, data)})


def problem(response, status):
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-release"] == "v1"
    body = response.json()
    assert body.keys() == {"type", "title", "status", "detail"}
    assert body["status"] == status
    return body


def test_healthcheck_names_the_release(client):
    assert client.get("/healthcheck").json() == {"status": "ok", "release": "v1"}


def test_livez_says_alive(client):
    assert client.get("/livez").json() == {"status": "alive", "release": "v1"}


def test_readyz_says_ready_until_the_server_is_told_to_stop(client):
    assert client.get("/readyz").json() == {"status": "ready", "release": "v1", "refused": None}

    client.app.state.service.draining = True

    assert problem(client.get("/readyz"), 503)["type"].endswith(":draining")


def test_metrics_count_requests_by_route_and_status(client, paint):
    send(client, "/predict/image", paint())
    client.get("/products/nothing-there")
    client.get("/nowhere/at/all")

    lines = client.get("/metrics").text.splitlines()

    assert 'fb_requests_total{method="POST",route="/predict/image",status="200"} 1.0' in lines
    assert (
        'fb_requests_total{method="GET",route="/products/{product_id}",status="404"} 1.0' in lines
    )
    assert 'fb_requests_total{method="GET",route="elsewhere",status="404"} 1.0' in lines
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


def test_image_gives_the_most_probable_category(client, paint):
    body = send(client, "/predict/image", paint((20, 220, 20))).json()

    assert body["category"] == "Greens"
    assert body["confidence"] == max(body["probabilities"].values())
    assert list(body["probabilities"]) == ["Reds", "Greens", "Blues"]
    assert sum(body["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("threshold", "not_sure"), [(0.2, False), (1.0, True)])
def test_what_is_not_confident_enough_is_said_to_be_not_sure(release, paint, threshold, not_sure):
    abstention = release.manifest.abstention.model_copy(update={"threshold": threshold})
    manifest = release.manifest.model_copy(update={"abstention": abstention})
    client = TestClient(create_app(replace(release, manifest=manifest), Settings()))

    assert send(client, "/predict/image", paint()).json()["not_sure"] is not_sure


def test_feature_embedding_is_what_the_encoder_makes_of_the_canonical_photo(client, release, paint):
    photo = paint((90, 10, 60), size=(500, 300))

    body = send(client, "/predict/feature_embedding", photo).json()

    pixels = photos.pixels(photos.canonical(photo))
    expected = release.encoder.encode(pixels[np.newaxis]).embeddings[0]
    np.testing.assert_allclose(body["embedding"], expected, atol=1e-6)


def test_similar_images_begins_with_the_same_photo(client, canonical_photos):
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
        "score": pytest.approx(1.0, abs=1e-6),
    }
    assert len(hits) == 5
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)


def test_the_score_is_the_cosine(client, release, canonical_photos):
    hits = send(client, "/predict/similar_images", canonical_photos["img-blue"]).json()["hits"]

    by_id = {
        name: release.encoder.encode(photos.pixels(jpeg)[np.newaxis]).embeddings[0]
        for name, jpeg in canonical_photos.items()
    }
    for hit in hits:
        cosine = by_id["img-blue"] @ by_id[hit["image_id"]]
        assert hit["score"] == pytest.approx(cosine, abs=1e-5)


def test_similar_images_gives_k_hits(client, paint):
    assert len(send(client, "/predict/similar_images?k=2", paint()).json()["hits"]) == 2


def found(client, photo, query):
    hits = send(client, f"/predict/similar_images?{query}", photo).json()["hits"]
    return {hit["product_id"] for hit in hits}


def test_similar_images_may_be_filtered_by_price(client, paint):
    assert found(client, paint(), "min_price=10&max_price=20.5") == {"prd-red", "prd-green"}
    assert found(client, paint(), "min_price=2000") == set()


def test_similar_images_may_be_filtered_by_category(client, paint):
    assert len(found(client, paint(), "category=Home%20%26%20Garden")) == 5

    body = problem(send(client, "/predict/similar_images?category=Boats", paint()), 422)

    assert "'Boats'" in body["detail"]
    assert "Home & Garden" in body["detail"]


def test_a_product_is_given_with_its_photos(client):
    assert client.get("/products/prd-blue").json() == {
        "product_id": "prd-blue",
        "title": "A blue chair",
        "price": None,
        "currency": "GBP",
        "category": "Home & Garden",
        "category_path": "Home & Garden / Chairs",
        "town": "York",
        "county": None,
        "image_ids": ["img-blue"],
    }


def test_an_image_is_given_as_it_was_made_canonical(client, canonical_photos):
    response = client.get("/images/img-blue")

    assert response.headers["content-type"] == "image/jpeg"
    assert response.content == canonical_photos["img-blue"]


@pytest.mark.parametrize("path", ["/products/x", "/images/x"])
def test_what_has_no_such_id_is_not_found(client, path):
    assert "'x'" in problem(client.get(path), 404)["detail"]


@pytest.mark.parametrize("k", ["0", "101", "many"])
def test_k_out_of_range_is_told_with_what_was_found(client, paint, k):
    body = problem(send(client, f"/predict/similar_images?k={k}", paint()), 422)

    assert f"query.k = '{k}'" in body["detail"]


@pytest.mark.parametrize("path", PREDICTIONS)
@pytest.mark.parametrize("format_", ["PNG", "WEBP", "JPEG"])
def test_a_photo_counts_by_its_content_not_its_name(client, paint, path, format_):
    assert send(client, path, paint(format_=format_), name="notes.txt").status_code == 200


@pytest.mark.parametrize("path", PREDICTIONS)
def test_other_formats_are_an_unsupported_media_type(client, paint, path):
    body = problem(send(client, path, paint(format_="GIF")), 415)

    assert body["type"].endswith(":unsupported_format")
    assert "GIF" in body["detail"]


def test_what_is_no_image_is_an_unsupported_media_type(client):
    body = problem(send(client, "/predict/image", b"dear sir"), 415)

    assert body["type"].endswith(":not_an_image")


def test_a_truncated_photo_cannot_be_processed(client):
    noise = Image.effect_noise((300, 300), 80)
    buffer = io.BytesIO()
    noise.save(buffer, "JPEG")

    body = problem(send(client, "/predict/image", buffer.getvalue()[:-2000]), 422)

    assert body["type"].endswith(":truncated")


def test_an_empty_file_cannot_be_processed(client):
    assert problem(send(client, "/predict/image", b""), 422)["type"].endswith(":empty")


def test_too_many_pixels_cannot_be_processed(release, paint):
    client = TestClient(create_app(release, Settings(max_pixels=99)))

    body = problem(send(client, "/predict/image", paint(size=(10, 10))), 422)

    assert body["type"].endswith(":too_many_pixels")


@pytest.mark.parametrize("size", [1001, 100_000, 5_000_000])
def test_an_upload_over_the_limit_is_too_large(release, size):
    client = TestClient(create_app(release, Settings(max_upload_bytes=1000)))

    body = problem(send(client, "/predict/image", bytes(size)), 413)

    assert body["type"].endswith(":oversized")


def test_an_upload_of_no_told_length_is_too_large_too(release):
    client = TestClient(create_app(release, Settings(max_upload_bytes=1000)))

    def body():
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(20):
            yield bytes(100_000)
        yield b"\r\n--x--\r\n"

    response = client.post(
        "/predict/image",
        content=body(),
        headers={"content-type": "multipart/form-data; boundary=x"},
    )

    problem(response, 413)


def test_a_photo_just_within_the_limit_is_taken(release, paint):
    photo = paint()
    client = TestClient(create_app(release, Settings(max_upload_bytes=len(photo))))

    assert send(client, "/predict/image", photo).status_code == 200


@pytest.mark.parametrize(
    "request_body",
    [
        {},
        {"files": {"photo": ("a.jpg", b"x")}},
        {"data": {"image": "a.jpg"}},
        {"content": b"raw", "headers": {"content-type": "image/jpeg"}},
    ],
    ids=["nothing", "another field", "no file", "raw body"],
)
def test_a_missing_photo_is_answered_with_a_command_that_works(client, request_body):
    body = problem(client.post("/predict/image?x=1", **request_body), 422)

    assert "curl -F image=@photo.jpg http://testserver/predict/image" in body["detail"]
    assert "x=1" not in body["detail"]


def test_a_malformed_form_is_a_bad_request(client):
    response = client.post(
        "/predict/image", content=b"??", headers={"content-type": "multipart/form-data"}
    )

    problem(response, 400)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/predict/image", 405), ("GET", "/docs", 404)],
)
def test_what_is_not_there_is_a_problem_too(client, method, path, status):
    problem(client.request(method, path), status)


def test_a_fault_of_the_server_says_nothing_of_its_inside(release, paint, monkeypatch):
    monkeypatch.setattr(type(release.encoder), "encode", lambda *_: 1 / 0)
    client = TestClient(create_app(release, Settings()))

    body = problem(send(client, "/predict/image", paint()), 500)

    assert "division" not in str(body)


KEY = {"X-API-Key": "a-key-of-the-shop"}


@pytest.fixture
def closed(release):
    return TestClient(create_app(release, Settings(api_keys="shop:a-key-of-the-shop")))


@pytest.mark.parametrize("path", ["/release", "/products/prd-blue", "/images/img-blue"])
@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "a-key-of-the-shoe"}])
def test_where_there_are_keys_one_is_needed(closed, path, headers):
    response = closed.get(path, headers=headers)

    assert problem(response, 401)["type"].endswith(":key")
    assert response.headers["www-authenticate"] == "ApiKey"
    assert closed.get(path, headers=KEY).status_code == 200


def test_no_photo_is_read_for_who_has_no_key(closed, paint):
    problem(send(closed, "/predict/image", paint()), 401)

    answer = closed.post("/predict/image", files={"image": paint()}, headers=KEY)
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/healthcheck", "/metrics"])
def test_what_watches_the_server_needs_no_key(closed, path):
    assert closed.get(path).status_code == 200


def test_a_key_that_asks_too_often_is_told_when_it_may_again(release, paint):
    client = TestClient(create_app(release, Settings(rate_limit="2/minute")))
    for _ in range(2):
        assert send(client, "/predict/image", paint()).status_code == 200

    response = send(client, "/predict/image", paint())

    assert problem(response, 429)["type"].endswith(":rate")
    assert 1 <= int(response.headers["retry-after"]) <= 60


def test_a_server_with_no_place_left_says_so_at_once(release, paint):
    client = TestClient(create_app(release, Settings(queue=1)))
    with client.app.state.service._admission.place():
        response = send(client, "/predict/image", paint())

    assert problem(response, 503)["type"].endswith(":full")
    assert int(response.headers["retry-after"]) >= 1
    assert send(client, "/predict/image", paint()).status_code == 200


def test_a_photo_that_takes_too_long_is_given_up(release, paint, monkeypatch):
    encode = release.encoder.encode
    monkeypatch.setattr(
        type(release.encoder), "encode", lambda _, photos: time.sleep(0.5) or encode(photos)
    )
    client = TestClient(create_app(release, Settings(request_seconds=0.1)))

    response = send(client, "/predict/image", paint())

    assert problem(response, 503)["type"].endswith(":deadline")
    assert "retry-after" in response.headers


def test_a_request_may_bring_its_id(client):
    assert client.get("/livez", headers={"X-Request-ID": "a-1"}).headers["x-request-id"] == "a-1"


def test_a_request_gets_an_id_where_it_brings_none_or_a_harmful_one(client):
    made = {
        client.get("/livez", headers=headers).headers["x-request-id"]
        for headers in ({}, {}, {"X-Request-ID": 'a" forged="b'}, {"X-Request-ID": "a" * 65})
    }

    assert len(made) == 4
    assert all(len(each) == 32 for each in made)


def test_a_request_leaves_a_line_that_says_nothing_of_keys_or_photos(closed, paint, caplog):
    with caplog.at_level("INFO", logger="fb_serve"):
        closed.post("/predict/image?note=s3cret", files={"image": paint()}, headers=KEY)

    told = caplog.records[-1].told
    assert told["path"] == "/predict/image"
    assert told["status"] == 200
    assert told["release"] == "v1"
    assert told["key"] == "shop"
    assert "a-key" not in str(told)
    assert "s3cret" not in str(told)


def test_pages_of_other_origins_may_not_read_the_answers(client, paint):
    response = client.get("/healthcheck", headers={"Origin": "https://elsewhere.example"})

    assert "access-control-allow-origin" not in response.headers


def test_pages_of_an_origin_that_is_let_in_may(release):
    settings = Settings(cors_origins="https://shop.example, https://other.example")
    client = TestClient(create_app(release, settings))

    response = client.get("/healthcheck", headers={"Origin": "https://shop.example"})

    assert response.headers["access-control-allow-origin"] == "https://shop.example"


def test_answers_forbid_what_a_page_of_ours_does_not_need(client):
    headers = client.get("/").headers

    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/healthcheck", "/release", "/openapi.json"])
def test_every_answer_names_its_release(client, path):
    response = client.get(path)

    assert response.status_code == 200
    assert response.headers["x-release"] == "v1"


def test_the_page_needs_no_other_host(client):
    page = client.get("/")

    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "//cdn" not in page.text


def test_the_description_tells_how_to_upload_and_what_may_go_wrong(client):
    for path in PREDICTIONS:
        operation = client.get("/openapi.json").json()["paths"][path]["post"]
        form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert form["required"] == ["image"]
        assert operation["responses"].keys() == {
            "200",
            "400",
            "408",
            "413",
            "415",
            "422",
            "429",
            "503",
        }
        assert "application/problem+json" in operation["responses"]["415"]["content"]
