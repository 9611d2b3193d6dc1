"""What a server says to what it cannot take: one problem, what was found, what was expected."""

import io

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from support.predict_client import PREDICTIONS, problem, send

from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.settings import Settings


@pytest.fixture
def client(release):
    return TestClient(create_app(release, Settings()))


@pytest.mark.parametrize("limit", ["0", "101", "many"])
def test_similar_images_limit_out_of_range_gives_422(client, paint, limit):
    body = problem(send(client, f"/predict/similar_images?limit={limit}", paint()), 422)

    assert f"query.limit = '{limit}'" in body["detail"]


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
