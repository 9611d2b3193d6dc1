"""HTML of the page of a listing, for link previews and for browsers without scripts."""

import re
from html.parser import HTMLParser
from urllib.parse import quote, urljoin

import pytest
from fastapi.testclient import TestClient
from support.builders.small_search import SHOP, SHOP_PHOTOS

from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.server.app import create_app
from fb_marketplace_serving.server.settings import Settings
from fb_marketplace_serving.storage.lake import Lake

KEY = "a-key-of-sixteen-signs"
HOSTILE = "\"><script>alert(1)</script>${id} {{strings}} <!-- item --> &amp; 'x"
IDS = ["a/b", "a b", "a?b=c", "a#b", "50%", "é/<b>&\"'", "a//b", "similar"]


class Page(HTMLParser):
    """Elements of a page."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def meta(self, name):
        return next(
            (
                item["content"]
                for item in self.all("meta")
                if name in (item.get("property"), item.get("name"))
            ),
            None,
        )


@pytest.fixture(scope="module")
def client(opened_shop):
    with TestClient(create_app(opened_shop, Settings())) as client:
        yield client


@pytest.fixture
def serve(tmp_path, make_shop):
    """Serves a shop with other listings."""

    def serve(shop, descriptions=None, **settings):
        manifest = make_shop(shop=shop, photos_of=SHOP_PHOTOS, descriptions=descriptions)
        release = Release.from_manifest(Lake(str(tmp_path)), manifest)
        return TestClient(create_app(release, Settings(**settings)))

    return serve


def test_page_has_all_of_the_listing(client):
    answer = client.get("/item/p-chair")
    page = Page(answer.text)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    text = " ".join(" ".join(page.texts).split())
    for part in ("Red chair", "£10", "Leeds", "About: Red chair", "Comparable listings"):
        assert part in text
    assert "images/img-red?size=1024" in [item.get("src") for item in page.all("img")]
    links = [item["href"] for item in page.all("a")]
    assert ".?category=Home+%26+Garden+%2F+Chairs" in links
    assert "item/p-copy" in links
    assert ".?like=img-red" in links


def test_link_preview_has_title_price_and_description(client):
    page = Page(client.get("/item/p-chair").text)

    assert page.meta("og:title") == "Red chair"
    assert page.meta("og:type") == "product"
    assert (
        page.meta("description") == page.meta("og:description") == "£10 · Leeds · About: Red chair"
    )
    assert page.meta("product:price:amount") == "10"
    assert page.meta("product:price:currency") == "GBP"


@pytest.mark.parametrize(
    ("price", "amount", "shown"),
    [(12345.67, "12345.67", "£12,345.67"), (1234567.0, "1234567", "£1,234,567")],
)
def test_large_price_is_exact(serve, price, amount, shown):
    with serve(SHOP | {"p-boat": ("A boat", price, "Sport / Boats", None)}) as client:
        page = Page(client.get("/item/p-boat").text)

    assert page.meta("product:price:amount") == amount
    assert [item["value"] for item in page.all("data")] == [amount]
    assert shown in page.texts


def test_link_preview_has_no_address_unless_the_server_knows_it(client):
    page = Page(client.get("/item/p-chair", headers={"Host": "evil.example"}).text)

    assert (page.meta("og:image"), page.meta("og:url")) == (None, None)
    assert [item for item in page.all("link") if item["rel"] == "canonical"] == []
    assert "evil" not in client.get("/item/p-chair", headers={"Host": "evil.example"}).text


@pytest.mark.parametrize("url", ["https://market.example/shop", "https://market.example/shop/"])
def test_link_preview_has_absolute_addresses_of_the_public_url(opened_shop, url):
    with TestClient(create_app(opened_shop, Settings(public_url=url))) as client:
        page = Page(client.get("/item/p-chair").text)

    root = "https://market.example/shop/"
    assert page.meta("og:image") == f"{root}images/img-red?size=1024"
    assert page.meta("og:url") == f"{root}item/p-chair"
    assert {"rel": "canonical", "href": f"{root}item/p-chair"} in page.all("link")


@pytest.mark.parametrize(
    "url", ["market.example", "ftp://market.example", "https://m.example/?a=b"]
)
def test_other_public_url_is_rejected(url):
    with pytest.raises(ValueError, match="address such as"):
        Settings(public_url=url)


@pytest.mark.parametrize("product_id", IDS)
def test_ids_of_any_signs_have_pages(serve, product_id):
    shop = SHOP | {product_id: ("A spare part", 5.0, "Sport / Bikes", None)}
    with serve(shop) as client:
        path = f"/item/{quote(product_id, safe='')}"
        answer = client.get(path)
        page = Page(answer.text)
        [base] = page.all("base")
        [script] = [item for item in page.all("script") if item.get("type") == "module"]

        assert answer.status_code == 200
        assert page.all("article") == [{"data-product": product_id, "data-title": "A spare part"}]
        assert urljoin(urljoin(f"http://host{path}", base["href"]), script["src"]) == (
            "http://host/web/item.js"
        )


def test_page_of_an_id_with_plain_slashes_finds_its_assets(serve):
    with serve(SHOP | {"a/b/c": ("A spare part", 5.0, "Sport / Bikes", None)}) as client:
        [base] = Page(client.get("/item/a/b/c").text).all("base")

    assert urljoin("http://host/item/a/b/c", base["href"]) == "http://host/"


def test_hostile_texts_are_escaped(serve):
    shop = SHOP | {"p-evil": (HOSTILE, 5.0, f"Sport / {HOSTILE}", HOSTILE)}
    with serve(shop, {"p-evil": f"{HOSTILE}\n</p>"}) as client:
        honest, hostile = (client.get(f"/item/{name}").text for name in ("p-bike", "p-evil"))

    for tag in ("script", "h1", "h2", "article", "dialog"):
        assert hostile.count(f"<{tag}") == honest.count(f"<{tag}"), tag
    assert "alert(1)" not in re.sub(r"&lt;script&gt;alert\(1\)", "", hostile)
    page = Page(hostile)
    assert page.meta("og:title") == HOSTILE
    [title] = page.all("article")
    assert title["data-title"] == HOSTILE
    assert f"{HOSTILE}\n</p>" in "".join(page.texts)


def test_page_has_the_policy_of_other_pages_and_may_set_its_base(client):
    page, index = (
        client.get(path).headers["content-security-policy"] for path in ("/item/p-chair", "/")
    )

    assert page == index.replace("base-uri 'none'", "base-uri 'self'") != index
    assert "unsafe" not in page


def test_unknown_listing_is_a_page_with_404(client):
    answer = client.get("/item/none/<script>alert(1)</script>")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "not available" in answer.text
    assert "alert(1)" not in answer.text
    assert Page(answer.text).all("article") == []


@pytest.mark.parametrize("path", ["/item/p-chair", "/item/none"])
def test_head_answers_like_get(client, path):
    get, head = client.get(path), client.head(path)

    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


def test_page_may_have_the_parameters_of_a_search(client):
    assert (
        client.get("/item/p-chair?q=red+chair&category=Home&at=3&utm_source=x").status_code == 200
    )


@pytest.fixture(scope="module")
def locked(opened_shop):
    settings = Settings(api_keys=f"shop:{KEY}", public_url="https://market.example/")
    with TestClient(create_app(opened_shop, settings)) as client:
        yield client


@pytest.mark.parametrize("key", [None, "another-key-of-signs"])
def test_page_without_key_shows_no_listing(locked, key):
    headers = {"X-API-Key": key} if key else {}
    known, unknown = (locked.get(path, headers=headers) for path in ("/item/p-chair", "/item/none"))

    assert (known.status_code, unknown.status_code) == (401, 401)
    assert known.text == unknown.text
    for part in ("Red chair", "img-red", "Leeds", "market.example"):
        assert part not in known.text


def test_page_with_key_shows_the_listing(locked):
    answer = locked.get("/item/p-chair", headers={"X-API-Key": KEY})

    assert answer.status_code == 200
    assert Page(answer.text).meta("og:title") == "Red chair"


def test_listing_without_photo_price_and_place_has_a_page(client):
    page = client.get("/item/p-lamp").text

    assert "No price" in page
    assert "product:price" not in page
    assert client.get("/item/p-plain").status_code == 200


def test_pages_and_listings_count_towards_the_rate_limit(opened_shop):
    with TestClient(create_app(opened_shop, Settings(rate_limit="2/minute"))) as client:
        first = [client.get(path).status_code for path in ("/products/p-chair", "/item/p-chair")]
        product, page = client.get("/products/p-chair"), client.get("/item/p-chair")

    assert first == [200, 200]
    assert product.json()["type"].endswith(":rate_limited")
    assert (page.status_code, page.headers["content-type"]) == (429, "text/html; charset=utf-8")
    assert "Too many requests" in page.text
    assert 1 <= int(page.headers["retry-after"]) <= 60
