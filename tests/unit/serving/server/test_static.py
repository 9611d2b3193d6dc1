import re

import pytest
from starlette.testclient import TestClient

from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.settings import Settings


@pytest.fixture
def client(release):
    return TestClient(create_app(release, Settings()))


@pytest.fixture(params=["", "web/app.js", "web/style.css"])
def part(request, client):
    answer = client.get(f"/{request.param}")
    assert answer.status_code == 200
    return answer


def test_browser_revalidates_cache(part):
    assert part.headers["cache-control"] == "no-cache"


def test_unchanged_file_gives_304(client):
    remaining = client.get("/web/app.js").headers["etag"]

    answer = client.get("/web/app.js", headers={"If-None-Match": remaining})

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["cache-control"] == "no-cache"


def test_every_referenced_file_exists(client):
    named = re.findall(r'(?:src|href)="(web/[^"]+)"', client.get("/").text)

    assert {name.rpartition(".")[2] for name in named} == {"css", "js", "svg"}
    assert {client.get(f"/{name}").status_code for name in named} == {200}
