"""Problem responses to invalid requests."""

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


def test_similar_images_renamed_parameter_gives_422(client, paint):
    body = problem(send(client, "/predict/similar_images?k=5", paint()), 422)

    assert "`k` is now `limit`" in body["detail"]


@pytest.mark.parametrize("path", PREDICTIONS)
@pytest.mark.parametrize("format_", ["PNG", "WEBP", "JPEG"])
def test_photo_type_is_detected_by_content(client, paint, path, format_):
    assert send(client, path, paint(format_=format_), name="notes.txt").status_code == 200


@pytest.mark.parametrize("path", PREDICTIONS)
def test_other_formats_give_415(client, paint, path):
    body = problem(send(client, path, paint(format_="GIF")), 415)

    assert body["type"].endswith(":unsupported_format")
    assert "GIF" in body["detail"]


def test_non_image_gives_415(client):
    body = problem(send(client, "/predict/image", b"dear sir"), 415)

    assert body["type"].endswith(":not_an_image")


def test_truncated_photo_gives_422(client):
    noise = Image.effect_noise((300, 300), 80)
    buffer = io.BytesIO()
    noise.save(buffer, "JPEG")

    body = problem(send(client, "/predict/image", buffer.getvalue()[:-2000]), 422)

    assert body["type"].endswith(":truncated")


def test_empty_file_gives_422(client):
    assert problem(send(client, "/predict/image", b""), 422)["type"].endswith(":empty")


def test_too_many_pixels_give_422(release, paint):
    client = TestClient(create_app(release, Settings(max_pixels=99)))

    body = problem(send(client, "/predict/image", paint(size=(10, 10))), 422)

    assert body["type"].endswith(":too_many_pixels")


@pytest.mark.parametrize("size", [1001, 100_000, 5_000_000])
def test_upload_over_limit_gives_413(release, size):
    client = TestClient(create_app(release, Settings(max_upload_bytes=1000)))

    body = problem(send(client, "/predict/image", bytes(size)), 413)

    assert body["type"].endswith(":oversized")


def test_chunked_upload_over_limit_gives_413(release):
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


def test_photo_at_size_limit_is_accepted(release, paint):
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
def test_missing_photo_suggests_working_command(client, request_body):
    body = problem(client.post("/predict/similar_images?limit=7", **request_body), 422)

    assert "curl -F image=@photo.jpg http://testserver/predict/similar_images" in body["detail"]
    assert "limit=7" not in body["detail"]


def test_malformed_form_gives_400(client):
    response = client.post(
        "/predict/image", content=b"??", headers={"content-type": "multipart/form-data"}
    )

    problem(response, 400)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/predict/image", 405), ("GET", "/web/nothing.js", 404)],
)
def test_unknown_route_or_method_is_problem_json(client, method, path, status):
    problem(client.request(method, path), status)


def test_server_error_hides_details(release, paint, monkeypatch):
    monkeypatch.setattr(type(release.encoder), "encode_stretched", lambda *_: 1 / 0)
    client = TestClient(create_app(release, Settings()))

    body = problem(send(client, "/predict/image", paint()), 500)

    assert "division" not in str(body)
