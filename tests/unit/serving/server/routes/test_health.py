"""Access to readiness and metrics, and their content."""

import pytest
from fastapi.testclient import TestClient

from fb_marketplace_serving.release.pointer import load_pointer
from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.release_watcher import ReleaseRejection
from fb_marketplace_serving.server.routes.health import hide_locations
from fb_marketplace_serving.server.service import ReleaseSource
from fb_marketplace_serving.server.settings import Settings
from fb_marketplace_serving.storage.lake import Lake

KEY = "m" * 20
GUARDED = ("/readyz", "/metrics")


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-API-Key": KEY}, 200),
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"X-API-Key": "k" * 20}, 401),
        ({"Authorization": f"Basic {KEY}"}, 401),
    ],
)
def test_monitoring_needs_its_key_if_there_is_one(release, path, headers, status):
    client = TestClient(
        create_app(release, Settings(monitoring_key=KEY, api_keys=f"shop:{'k' * 20}"))
    )

    assert client.get(path, headers=headers).status_code == status


def test_liveness_needs_no_key(release):
    client = TestClient(create_app(release, Settings(monitoring_key=KEY)))

    assert client.get("/livez").status_code == client.get("/healthcheck").status_code == 200


@pytest.mark.parametrize("path", GUARDED)
def test_monitoring_is_open_without_key(release, path):
    assert TestClient(create_app(release, Settings())).get(path).status_code == 200


@pytest.mark.parametrize(
    ("lake", "reason", "public"),
    [
        (
            "/srv/lake",
            "/srv/lake/06_models/encoder.onnx: found 3 bytes; expected 4",
            "06_models/encoder.onnx: found 3 bytes; expected 4",
        ),
        (
            "s3://shop/lake/",
            "s3://shop/lake/releases/v1.json: not found",
            "releases/v1.json: not found",
        ),
        (
            "s3://shop/lake",
            "releases/current.json: cannot be read (Could not connect to http://10.0.0.7:9000/shop); check",
            "releases/current.json: cannot be read (Could not connect to … check",
        ),
        (
            "data",
            "OSError: [Errno 5] Input/output error: '/mnt/disk/x'",
            "OSError: [Errno 5] Input/output error: '…'",
        ),
    ],
)
def test_locations_are_hidden(lake, reason, public):
    assert hide_locations(reason, lake) == public


def test_readyz_names_no_location(release, lake):
    source = ReleaseSource(lambda: load_pointer(Lake(lake)), lambda _: release)
    client = TestClient(create_app(release, Settings(lake=lake), source))
    watcher = client.app.state.service._watcher
    watcher.rejection = ReleaseRejection("v2", f"{lake}/model/listings.parquet: not found")

    body = client.get("/readyz").json()

    assert body["rejected"] == {"version": "v2", "reason": "model/listings.parquet: not found"}
    assert body["pointer_age_seconds"] >= 0
    assert "fb_release_pointer_age_seconds" in client.get("/metrics").text
    assert lake not in client.get("/metrics").text
