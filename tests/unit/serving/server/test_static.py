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


@pytest.mark.parametrize("page", ["docs", "redoc"])
def test_documentation_loads_nothing_from_other_hosts(client, page):
    answer = client.get(f"/{page}")
    named = re.findall(r'(?:src|href|spec-url)="([^"]+)"', answer.text)

    assert answer.headers["content-type"].startswith("text/html")
    assert any(name.startswith("docs/assets/") for name in named)
    assert "openapi.json" in [*named, "openapi.json" * (page == "docs")]
    for name in named:
        assert client.get(f"/{name}").status_code == 200, name
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert "script-src" not in policy  # So scripts in the page are not run.
    assert "<script>" not in answer.text


def test_every_referenced_file_exists(client):
    named = re.findall(r'(?:src|href)="(web/[^"]+)"', client.get("/").text)

    assert {name.rpartition(".")[2] for name in named} == {"css", "js", "svg"}
    assert {client.get(f"/{name}").status_code for name in named} == {200}
