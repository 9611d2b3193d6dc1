import io

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from fb_marketplace_serving import photos
from fb_marketplace_serving.api import create_app
from fb_marketplace_serving.photos import Limits

PREDICTIONS = ["/predict/image", "/predict/feature_embedding", "/predict/similar_images"]


@pytest.fixture
def client(release):
    return TestClient(create_app(release))


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


def test_release_is_described_without_its_files(client):
    body = client.get("/release").json()

    assert body["version"] == "v1"
    assert body["labels"] == ["Reds", "Greens", "Blues"]
    assert body["metrics"] == {"accuracy": 0.5}
    assert "canaries" not in body


def test_image_gives_the_most_probable_category(client, paint):
    body = send(client, "/predict/image", paint((20, 220, 20))).json()

    assert body["category"] == "Greens"
    assert body["confidence"] == max(body["probabilities"].values())
    assert list(body["probabilities"]) == ["Reds", "Greens", "Blues"]
    assert sum(body["probabilities"].values()) == pytest.approx(1, abs=1e-5)


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
    client = TestClient(create_app(release, Limits(max_pixels=99)))

    body = problem(send(client, "/predict/image", paint(size=(10, 10))), 422)

    assert body["type"].endswith(":too_many_pixels")


@pytest.mark.parametrize("size", [1001, 100_000, 5_000_000])
def test_an_upload_over_the_limit_is_too_large(release, size):
    client = TestClient(create_app(release, Limits(max_bytes=1000)))

    body = problem(send(client, "/predict/image", bytes(size)), 413)

    assert body["type"].endswith(":oversized")


def test_an_upload_of_no_told_length_is_read_no_further_than_the_limit(release):
    client = TestClient(create_app(release, Limits(max_bytes=1000)))
    sent = 0

    def body():
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(1000):
            sent += 10_000
            yield bytes(10_000)
        yield b"\r\n--x--\r\n"

    response = client.post(
        "/predict/image",
        content=body(),
        headers={"content-type": "multipart/form-data; boundary=x"},
    )

    problem(response, 413)


def test_a_photo_just_within_the_limit_is_taken(release, paint):
    photo = paint()
    client = TestClient(create_app(release, Limits(max_bytes=len(photo))))

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
    client = TestClient(create_app(release), raise_server_exceptions=False)
    monkeypatch.setattr(type(release.encoder), "encode", lambda *_: 1 / 0)

    body = problem(send(client, "/predict/image", paint()), 500)

    assert "division" not in str(body)


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
        assert operation["responses"].keys() == {"200", "413", "415", "422"}
        assert "application/problem+json" in operation["responses"]["415"]["content"]
