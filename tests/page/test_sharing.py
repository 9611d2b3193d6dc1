"""Photo and words in the link; saved searches and the theme in the browser."""

import re

from support.builders.chair_shop import photo

RED, GREEN, BLUE = range(3)
MAX_LINK = 16_000
FAIL = "name => { Storage.prototype.setItem = () => { throw new DOMException('no', name); }; }"
SHARED = {"permissions": ["clipboard-read", "clipboard-write"]}


def cards(page):
    return page.locator("#hits > li[data-product]")


def products(page):
    return cards(page).evaluate_all("all => all.map((one) => one.dataset.product)")


def search_by_both(page, expect, hue, words):
    page.set_input_files(
        "#file", {"name": "mine.jpg", "mimeType": "image/jpeg", "buffer": photo(hue)}
    )
    expect(page.locator("#category")).to_be_visible()
    page.get_by_label("Search text").fill(words)
    page.keyboard.press("Enter")
    expect(page.locator("#heading")).to_have_text(f"Similar, and “{words}”")
    page.locator("#hits[aria-busy]").wait_for(state="detached")


def test_photo_and_words_survive_reload_and_back(shop_page, expect):
    page = shop_page
    search_by_both(page, expect, GREEN, "but in blue")
    shown = products(page)

    page.reload()

    expect(page.locator("#caption")).to_have_text("mine.jpg")
    expect(page.locator("#photo")).to_be_visible()
    expect(page.get_by_label("Search text")).to_have_value("but in blue")
    expect(cards(page)).to_have_count(len(shown))
    assert products(page) == shown
    page.go_back()
    expect(page.locator("#heading")).to_have_text("Most similar listings")
    expect(page.locator("#category")).to_have_text("Greens")
    page.go_forward()
    expect(page.locator("#heading")).to_have_text("Similar, and “but in blue”")


def test_shared_link_gives_the_same_results_elsewhere(open_page, shop_server, expect):
    page = open_page(shop_server, **SHARED)
    search_by_both(page, expect, BLUE, "stool")
    page.get_by_role("button", name="Share").click()
    expect(page.locator("#toast")).to_contain_text("Link copied")
    link = page.evaluate("navigator.clipboard.readText()")
    sent = []

    friend = open_page(shop_server)
    friend.on("request", lambda request: sent.append(request.url))
    friend.goto(link)

    expect(friend.locator("#heading")).to_have_text("Similar, and “stool”")
    expect(friend.locator("#photo")).to_be_visible()
    expect(friend.locator("#caption")).to_have_text("Photo of this link")
    expect(cards(friend)).to_have_count(len(products(page)))
    assert products(friend) == products(page)
    assert len(link) < MAX_LINK
    # The photo is in the fragment: it is posted, but in no address that a server logs.
    assert not [url for url in sent if "photo=" in url.split("#")[0]]


def test_broken_photo_of_a_link_is_reported(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/?q=chair#photo=AAAA")

    expect(page.locator("#error")).to_contain_text("This file is not a supported photo")


def test_large_photo_is_sent_small(shop_page, expect):
    sizes = []
    shop_page.on(
        "request",
        lambda request: (
            sizes.append(len(request.post_data_buffer or b"")) if request.method == "POST" else None
        ),
    )
    large = photo(RED, size=(4000, 3000))
    shop_page.set_input_files(
        "#file", {"name": "large.jpg", "mimeType": "image/jpeg", "buffer": large}
    )
    expect(shop_page.locator("#category")).to_have_text("Reds")

    assert len(large) > 100_000
    assert max(sizes) < 12_000


def save(page, name):
    page.get_by_role("button", name="Save search").click()
    page.get_by_label("Save this search as").fill(name)
    page.keyboard.press("Enter")


def test_search_is_saved_run_and_deleted(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/?q=blue+chair&category=Blues")
    expect(page.locator("#heading")).to_have_text("“blue chair”")
    save(page, "For the <kitchen>")
    expect(page.locator("#toast")).to_have_text("Saved as “For the <kitchen>”.")
    expect(page.locator("#saved-count")).to_have_text("1")

    page.goto(shop_server)
    page.get_by_role("button", name="Saved").click()
    dialog = page.get_by_role("dialog", name="Saved searches")
    expect(dialog.locator("#save-form")).to_be_hidden()  # the start page is no search
    dialog.get_by_role("link", name="For the <kitchen>").click()

    expect(page.locator("#heading")).to_have_text("“blue chair”")
    expect(page).to_have_url(re.compile("category=Blues"))
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Saved", exact=False).first.click()
    dialog.get_by_role("button", name="Delete “For the <kitchen>”").click()
    expect(dialog).to_contain_text("No saved searches yet.")
    assert page.evaluate("localStorage.getItem('fb-marketplace-saved')") == "[]"


def test_saving_with_blocked_or_full_storage_is_explained(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/?q=chair")
    expect(cards(page).first).to_be_visible()
    page.evaluate(FAIL, "QuotaExceededError")
    save(page, "Chairs")
    expect(page.locator("#saved-error")).to_contain_text("storage of this browser is full")

    page.evaluate(FAIL, "SecurityError")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.locator("#saved-error")).to_contain_text("Bookmark the address")


def test_broken_storage_does_not_break_the_page(open_page, shop_server, expect):
    page = open_page(shop_server)
    page.evaluate("localStorage.setItem('fb-marketplace-saved', '{broken')")
    page.reload()

    expect(cards(page).first).to_be_visible()
    expect(page.locator("#saved-count")).to_be_hidden()


def test_theme_is_kept_and_follows_the_system_again(open_page, shop_server, expect):
    page = open_page(shop_server, color_scheme="light")
    switch = page.get_by_role("button", name="Dark mode")
    expect(switch).to_have_attribute("aria-pressed", "false")
    switch.click()
    dark = "() => getComputedStyle(document.body).backgroundColor === 'rgb(18, 20, 23)'"
    assert page.evaluate(dark)

    page.reload()
    expect(switch).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(dark)
    page.goto(f"{shop_server}/item/prd-Reds-0")
    assert page.evaluate(dark)
    switch.click()
    assert page.evaluate("localStorage.getItem('fb-marketplace-theme')") is None
    page.emulate_media(color_scheme="dark")
    expect(switch).to_have_attribute("aria-pressed", "true")


def test_being_offline_is_shown_and_search_resumes(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/?q=red+chair")
    expect(cards(page).first).to_be_visible()
    page.context.set_offline(True)
    expect(page.locator("#offline")).to_contain_text("You are offline")
    page.get_by_label("Search text").fill("blue chair")
    page.keyboard.press("Enter")
    expect(page.locator("#error")).to_contain_text("No answer from the server")

    page.context.set_offline(False)

    expect(page.locator("#offline")).to_be_hidden()
    expect(cards(page).first).to_contain_text("Blue")
