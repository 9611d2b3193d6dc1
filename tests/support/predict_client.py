"""Requests with photos, and checks of problem responses."""

PREDICTIONS = ["/predict/image", "/predict/feature_embedding", "/predict/similar_images"]


def send(client, path, data, name="photo.jpg"):
    return client.post(path, files={"image": (name, data)})


def problem(response, status, release="v1"):
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-release"] == release
    body = response.json()
    assert body.keys() == {"type", "title", "status", "detail"}
    assert body["status"] == status
    return body
