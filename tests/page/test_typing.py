"""Results and suggestions as words are typed."""

import re

import pytest


def cards(page):
    return page.locator("#hits > li[data-product]")


def searches(page):
    asked = []
    page.on(
        "request", lambda request: asked.append(request.url) if "/search?" in request.url else None
    )
    return asked


@pytest.fixture
def field(shop_page, expect):
    expect(cards(shop_page).first).to_be_visible()
    field = shop_page.get_by_label("Search text")
    field.click()
    return field


def test_results_come_while_typing(shop_page, field, expect):
    page = shop_page
    asked = searches(page)
    entries = page.evaluate("history.length")

    field.press_sequentially("old oak table", delay=15)

    expect(page.locator("#heading")).to_have_text("“old oak table”")
    expect(page.locator("#status")).to_contain_text("24 listings")
    expect(page).to_have_url(re.compile(r"\?q=old\+oak\+table$"))
    expect(field).to_be_focused()
    # One search a pause, not one a letter.
    assert 0 < len(asked) <= 4

    page.keyboard.press("Enter")
    page.wait_for_timeout(100)
    field.press_sequentially("s")
    expect(page.locator("#heading")).to_have_text("“old oak tables”")
    # One entry for each text: that which was submitted, and that which came after.
    assert page.evaluate("history.length") == entries + 2
    page.go_back()
    expect(field).to_have_value("old oak table")
    page.go_back()
    expect(page.get_by_role("heading", name="Find listings")).to_be_visible()


def test_older_answer_is_never_shown_over_newer(shop_page, field, expect):
    page = shop_page
    held = []

    def hold_red(route):
        if "q=red" in route.request.url:
            held.append(route)
        else:
            route.continue_()

    page.route("**/search?*", hold_red)
    field.press_sequentially("red")
    while not held:
        page.wait_for_timeout(20)
    field.fill("blue chair")
    expect(page.locator("#heading")).to_have_text("“blue chair”")
    expect(cards(page).first).to_contain_text("Blue")
    for route in held:
        route.continue_()
    page.wait_for_timeout(200)

    expect(page.locator("#heading")).to_have_text("“blue chair”")
    expect(cards(page).first).to_contain_text("Blue")


def test_busy_server_is_left_alone_while_typing(shop_page, field, expect):
    page = shop_page
    times = []

    def busy_once(route):
        times.append(page.evaluate("performance.now()"))
        if len(times) > 1:
            route.continue_()
            return
        route.fulfill(
            status=429,
            headers={"Retry-After": "1", "Content-Type": "application/problem+json"},
            body='{"type": "about:blank", "title": "Busy", "status": 429, "detail": "slow down"}',
        )

    page.route("**/search?*", busy_once)
    before = cards(page).count()
    field.press_sequentially("blue")
    while not times:
        page.wait_for_timeout(20)
    field.press_sequentially(" chair")

    assert cards(page).count() == before
    expect(page.locator("#error")).to_be_empty()
    expect(page.locator("#heading")).to_have_text("“blue chair”")
    expect(cards(page).first).to_contain_text("Blue")
    assert len(times) == 2
    assert times[1] - times[0] > 900


def test_half_a_word_shows_results_of_its_completion(shop_page, field, expect):
    page = shop_page

    def nothing_for_half(route):
        response = route.fetch()
        body = response.json()
        if "q=old+oa&" in route.request.url + "&":
            body |= {"hits": [], "total": 0, "total_listings": 0}
        route.fulfill(response=response, json=body)

    page.route("**/search?*", nothing_for_half)
    field.press_sequentially("old oa")

    expect(page.locator("#meaning")).to_contain_text("Showing results for old oak.")
    expect(cards(page).first).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("No relevant listings")


def test_suggestions_are_chosen_by_keyboard(shop_page, field, expect):
    page = shop_page
    box = page.get_by_role("combobox", name="Search text")
    field.press_sequentially("old oa")
    option = page.get_by_role("option", name="old oak")
    expect(option).to_be_visible()
    expect(box).to_have_attribute("aria-expanded", "true")

    page.keyboard.press("ArrowDown")
    expect(option).to_have_attribute("aria-selected", "true")
    assert box.get_attribute("aria-activedescendant") == option.get_attribute("id")
    page.keyboard.press("Escape")
    expect(option).to_be_hidden()
    expect(field).to_have_value("old oa")
    page.keyboard.press("ArrowDown")
    expect(option).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")

    expect(field).to_have_value("old oak")
    expect(page.locator("#heading")).to_have_text("“old oak”")
    expect(box).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("Escape")
    expect(field).to_have_value("")


def test_suggestion_is_chosen_by_click_and_tab_closes(shop_page, field, expect):
    page = shop_page
    field.press_sequentially("old oa")
    page.get_by_role("option", name="old oak").click()
    expect(page).to_have_url(re.compile(r"q=old\+oak$"))
    expect(field).to_be_focused()

    field.fill("old o")
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("listbox")).to_be_hidden()


def test_slash_focuses_the_search(shop_page, expect):
    expect(cards(shop_page).first).to_be_visible()
    shop_page.keyboard.press("/")

    expect(shop_page.get_by_label("Search text")).to_be_focused()
    expect(shop_page.get_by_label("Search text")).to_have_value("")
