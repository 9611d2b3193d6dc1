import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fb_marketplace_serving.search.listings.attribute_table import FACETS
from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.items import page
from fb_marketplace_serving.server.settings import Settings
from fb_marketplace_serving.server.static import choose_language, languages

WEB = files("fb_marketplace_serving").joinpath("web")
TEXTS = json.loads(WEB.joinpath("strings.en.json").read_text("utf-8"))
SCRIPTS = sorted(item.name for item in WEB.iterdir() if item.name.endswith(".js"))
WORDS = re.compile(r"[A-Za-z]{2,},? [A-Za-z]{2,}|^[A-Z][a-z]{2,}|[a-z]{2}[…!]$")
"""Two words, a capital, or the end of a sentence."""
TECHNICAL = re.compile(
    r"Arrow(Up|Down|Left|Right)|Escape|Enter|Files|Content-Type|Retry-After|\w*Error|.*[#=@>:[].*"
)
"""Keys, headers, errors, selectors and commands."""


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


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("", "en"), ("cs;q=0.9,de", "cs"), ("de-AT,en;q=0.5", "en"), ("EN-gb", "en"), ("*", "en")],
)
def test_language_is_the_first_one_available(accepted, language):
    assert choose_language(accepted, ("cs", "en")) == language


def test_page_has_all_its_texts(client):
    answer = client.get("/", headers={"Accept-Language": "xx"})
    data = re.search(r'<script type="application/json" id="strings">(.*?)</script>', answer.text)

    assert languages() == ("en",)
    assert json.loads(data[1]) == TEXTS
    assert "{{" not in answer.text
    assert '<html lang="en"' in answer.text
    assert answer.headers["vary"] == "Accept-Language"


def test_every_text_of_the_page_is_used():
    server = Path(page.__file__).read_text("utf-8")
    files = [*SCRIPTS, "index.html", "item.html"]
    code = server + "".join(WEB.joinpath(name).read_text("utf-8") for name in files)
    dynamic = ("error_", "item_error_", "source_", "order_", "suggestion_", "ordinal", "attribute_")

    unused = [key for key in TEXTS if f'"{key}"' not in code and f"{{{{{key}}}}}" not in code]
    assert [key for key in unused if not key.startswith(dynamic)] == []


def test_each_kind_of_attribute_facet_has_a_label():
    labels = {key for key in TEXTS if key.startswith("attribute_")}

    assert labels == {f"attribute_{kind}" for kind in FACETS}


@pytest.mark.parametrize("name", ["index.html", "item.html"])
def test_page_has_no_text_of_its_own(name):
    code = WEB.joinpath(name).read_text("utf-8")
    code = re.sub(r"<(title|a class=\"brand\").*?</\1>|<!--.*?-->", "", code)
    texts = [*re.findall(r">([^<]+)<", code)]
    texts += re.findall(r'(?:aria-label|title|placeholder|alt|content)="([^"]+)"', code)

    named = [re.sub(r"\{\{\w+\}\}", "", text).strip() for text in texts]
    words = [text for text in named if re.search(r"[A-Za-z]{2}", text)]
    assert set(words) <= {
        "openapi.json",
        "fb-marketplace",
        "light dark",
        "width=device-width, initial-scale=1",
        "width=device-width, initial-scale=1, interactive-widget=resizes-content",
    }


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_have_no_text_of_their_own(name):
    code = WEB.joinpath(name).read_text("utf-8")
    code = re.sub(r"(?m)(?<![:\w\"'])//.*$", "", code)
    code = re.sub(r'className: "[^"]*"', "", code)
    code = re.sub(r"\$\{[^{}]*\}", "", code)
    literals = re.findall(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`', code)

    texts = [text for pair in literals for text in pair if WORDS.search(text)]
    assert [text for text in texts if not TECHNICAL.fullmatch(text)] == []
