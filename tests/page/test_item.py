"""The page of a listing: from the search and back, zoom, similar listings, explanation, share and keys."""

import json
import re
import urllib.request
from urllib.parse import quote

import pytest
from support import chromium
from support.builders.chair_shop import DESCRIPTION, KEY, SECOND_PHOTO, photo

RED = "prd-Reds-0"


def card(page, product_id):
    return page.locator(f"#hits > [data-product={product_id}] a.listing")


def test_card_links_to_the_page_and_back_to_the_search(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/?q=red+chair&category=Reds")
    link = card(page, RED)
    expect(link).to_have_attribute("href", f"item/{RED}")
    link.click()

    expect(page.get_by_role("heading", name="Red chair 0", level=1)).to_be_visible()
    expect(page).to_have_url(re.compile(rf"/item/{RED}\?q=red\+chair&category=Reds&at=\d+$"))
    page.get_by_role("link", name="Back to the listings").click()
    expect(page).to_have_url(re.compile(r"/\?q=red\+chair&category=Reds$"))
    expect(link).to_be_visible()


def test_middle_click_opens_the_page_in_a_new_tab(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/?q=red+chair")
    with page.context.expect_page() as opened:
        card(page, RED).click(button="middle")

    expect(opened.value.get_by_role("heading", level=1)).to_have_text("Red chair 0")
    expect(page.locator("#hits")).to_be_visible()


def test_page_shows_the_listing_and_similar_ones(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/item/{RED}")

    expect(page.locator(".description")).to_have_text(DESCRIPTION)
    expect(page.locator("#photos img")).to_have_count(2)
    expect(page.locator("#similar .tile.loaded").first).to_be_visible()
    widths = page.locator("#photos img").evaluate_all(
        """async (all) => {
            for (const one of all) await one.decode();
            return all.map((one) => one.naturalWidth);
        }"""
    )
    assert widths == [1024, 256]
    expect(page.locator("#why")).to_be_hidden()
    page.locator("#similar a.listing").first.click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Red chair 0")


def test_photos_zoom_by_keyboard(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/item/{RED}")
    expect(page.locator("#similar")).to_be_visible()
    page.locator("#photos a").first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Photo")
    expect(dialog).to_be_visible()
    expect(dialog.locator("#zoom-count")).to_have_text("Photo 1 of 2")

    page.keyboard.press("ArrowRight")
    expect(dialog.locator("#zoom-count")).to_have_text("Photo 2 of 2")
    expect(dialog.locator("img")).to_have_attribute("src", re.compile(quote(SECOND_PHOTO, safe="")))
    page.keyboard.press("ArrowRight")
    expect(dialog.locator("#zoom-count")).to_have_text("Photo 1 of 2")
    page.keyboard.press("ArrowLeft")
    expect(dialog.locator("#zoom-count")).to_have_text("Photo 2 of 2")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator("#photos a").first).to_be_focused()


@pytest.mark.parametrize(
    "search", ["q=red+chair", "like=img-Reds-1", "q=but+green&like=img-Reds-1"]
)
def test_hit_is_explained(open_page, shop_server, expect, search):
    page = open_page(f"{shop_server}/?{search}")
    page.locator("#hits > [data-product] a.listing").nth(2).click()

    page.get_by_text("Why this?").click()

    expect(page.locator(".explanation tfoot")).to_be_visible()


def test_hit_of_an_uploaded_photo_is_explained(open_page, shop_server, expect):
    page = open_page(shop_server)
    page.set_input_files(
        "#file", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo(0, 2)}
    )
    page.locator("#category").wait_for()
    page.locator("#hits[aria-busy]").wait_for(state="detached")
    page.locator("#hits > [data-product] a.listing").nth(1).click()

    page.get_by_text("Why this?").click()

    expect(page.locator(".explanation")).to_be_visible()
    page.get_by_role("link", name="Back to the listings").click()
    expect(page.locator("#photo")).to_be_visible()


def test_hit_that_moved_is_not_explained(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/item/{RED}?q=red+chair&at=20")
    page.get_by_text("Why this?").click()

    expect(page.locator("#why")).to_contain_text("The listings have changed")


def test_share_copies_the_address_without_the_search(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/item/{RED}?q=red+chair&at=0")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Share").click()

    expect(page.locator("#toast")).to_have_text("Link copied.")
    assert page.evaluate("navigator.clipboard.readText()") == f"{shop_server}/item/{RED}"


def test_unknown_listing_says_so(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/item/none")

    expect(page.get_by_role("heading", level=1)).to_have_text("This listing is not available")
    expect(page.get_by_role("link", name="Back to the listings")).to_be_visible()


def test_page_works_without_scripts(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/item/{RED}", java_script_enabled=False)

    expect(page.get_by_role("heading", level=1)).to_have_text("Red chair 0")
    expect(page.locator(".description")).to_have_text(DESCRIPTION)
    page.get_by_role("searchbox").fill("oak table")
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile(r"/\?q=oak\+table$"))


def test_encoded_ids_reach_the_server_as_they_are(shop_server):
    url = f"{shop_server}/images/{quote(SECOND_PHOTO, safe='')}?size=1024"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers["Content-Type"] == "image/jpeg"


@pytest.fixture(scope="module")
def locked_shop(shop):
    with chromium.served(shop, FB_API_KEYS=f"shop:{KEY}") as address:
        yield address


def enter_key(page):
    page.get_by_label("Key", exact=True).fill(KEY)
    page.get_by_role("button", name="Use this key").click()


def test_page_with_a_key_is_loaded_with_it(open_page, locked_shop, expect):
    page = open_page(f"{locked_shop}/item/{RED}?q=red+chair&at=0")
    dialog = page.get_by_role("dialog", name="This server requires a key")
    expect(dialog).to_be_visible()
    expect(page.locator("body")).not_to_contain_text("Red chair")

    enter_key(page)

    expect(page.get_by_role("heading", level=1)).to_have_text("Red chair 0")
    expect(page).to_have_title("Red chair 0 · fb-marketplace")
    expect(page.locator("#photos img").first).to_have_attribute("src", re.compile("^blob:"))
    expect(page.locator("#similar .tile.loaded").first).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Red chair 0")
    expect(dialog).to_be_hidden()


def test_unknown_listing_says_so_after_the_key(open_page, locked_shop, expect):
    page = open_page(f"{locked_shop}/item/none")
    enter_key(page)

    expect(page.get_by_role("heading", level=1)).to_have_text("This listing is not available")
    expect(page.locator("#error")).to_be_empty()


def test_page_without_one_of_its_photos_shows_the_rest(open_page, locked_shop, expect):
    page = open_page(f"{locked_shop}/item/{RED}")
    page.route(f"**/images/{quote(SECOND_PHOTO, safe='')}?*", lambda route: route.abort())
    enter_key(page)

    expect(page.locator("#photos img").first).to_have_attribute("src", re.compile("^blob:"))
    expect(page.locator("#similar .tile.loaded").first).to_be_visible()


def test_link_preview_is_in_the_html(shop_server):
    with urllib.request.urlopen(f"{shop_server}/item/{RED}", timeout=10) as answer:
        text = answer.read().decode()

    assert '<meta property="og:title" content="Red chair 0">' in text
    assert json.dumps(DESCRIPTION)[1:20] not in text  # its markup is escaped
