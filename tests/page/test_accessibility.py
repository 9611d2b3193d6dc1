"""Accessibility of the page: keyboard, screen readers, phones, light and dark."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from support.builders.chair_shop import photo

FITS = "document.documentElement.scrollWidth <= innerWidth"
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True}


def choose(page, data):
    page.set_input_files("#file", {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": data})
    page.locator("#category").wait_for()
    page.locator("#hits .tile.loaded").first.wait_for()


def tab_until(page, seen):
    for _ in range(80):
        page.keyboard.press("Tab")
        if seen.evaluate_all("all => all.includes(document.activeElement)"):
            return
    raise AssertionError(f"80 tabs did not reach {seen}")


def search(page, expect, words):
    page.get_by_label("Search text").fill(words)
    page.keyboard.press("Enter")
    expect(page.locator("#heading")).to_have_text(f"“{words}”")
    page.locator("#hits[aria-busy]").wait_for(state="detached")
    expect(page.locator("#hits > [data-product]").first).to_be_visible()


def violations(page):
    """Return what axe finds, with WCAG 2.2 AA and best practices."""
    page.wait_for_timeout(250)  # photos and cards fade in
    return [
        f"{item['id']}: {item['nodes'][0]['html'][:120]}"
        for item in Axe().run(page).response["violations"]
    ]


def _home(page, expect):
    expect(page.locator("#roots button").first).to_be_visible()


def _results(page, expect):
    search(page, expect, "red chair under £50")
    if not page.locator("#near").is_visible():
        page.locator("#filters summary").click()
    page.get_by_role("button", name="Why this?").first.click()
    expect(page.locator(".explanation")).to_be_visible()


def _both(page, expect):
    choose(page, photo(0))
    page.get_by_label("Search text").fill("but in blu")
    expect(page.get_by_role("listbox")).to_be_visible()


def _saving(page, expect):
    search(page, expect, "blue chair")
    page.locator("#save").click()
    page.keyboard.press("Enter")
    page.locator("#saved-open").click()
    expect(page.get_by_role("link", name="blue chair", exact=True)).to_be_visible()


def _nothing(page, expect):
    page.goto(page.url + "?q=chair&min_price=5000")
    expect(page.locator("#error button")).to_be_visible()


def _item(page, expect):
    page.goto(page.url + "item/prd-Reds-0?q=red+chair&at=0")
    page.get_by_text("Why this?").click()
    page.locator("details.note summary").first.click()
    expect(page.locator("#similar .tile.loaded").first).to_be_visible()
    page.locator("#photos a").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert violations(page) == []
    page.keyboard.press("Escape")


def _fault(page, expect):
    page.goto(page.url + "?q=chair&near=Nowhereville")
    expect(page.locator("#error h2")).to_be_visible()


@pytest.mark.parametrize(
    ("look", "states"),
    [
        ("light", (_home, _both, _saving, _nothing, _item)),
        ("dark", (_results, _both, _fault, _item)),
        ("phone", (_home, _results, _item)),
    ],
)
def test_axe_finds_no_violation(open_page, shop_server, expect, look, states):
    options = PHONE if look == "phone" else {"color_scheme": look}
    faults = {}
    for state in states:
        page = open_page(shop_server, **options)
        state(page, expect)
        faults[state.__name__] = violations(page)
        assert page.evaluate(FITS)

    assert {state: names for state, names in faults.items() if names} == {}


def test_axe_finds_no_violation_without_text_search(open_page, server):
    page = open_page(server)
    choose(page, photo(0))

    assert violations(page) == []


def test_page_works_by_keyboard(page, expect):
    # Listen from the start: the file chooser may open before a later listener is installed.
    page.on(
        "filechooser",
        lambda chooser: chooser.set_files(
            {"name": "red.jpg", "mimeType": "image/jpeg", "buffer": photo(0)}
        ),
    )
    tab_until(page, page.locator("#file"))
    page.keyboard.press("Enter")
    expect(page.locator("#hits li[data-image]")).to_have_count(24)

    tab_until(page, page.locator("[value=Reds]"))
    page.keyboard.press("Space")
    expect(page.locator("#hits li[data-image]")).to_have_count(8)
    tab_until(page, page.locator("#hits a"))
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_have_text("Red chair 0")
    page.go_back()  # headless, no key does it
    expect(page.locator("[data-image=img-Reds-0] a")).to_be_focused()


def test_text_search_works_by_keyboard(shop_page, expect):
    page = shop_page
    tab_until(page, page.locator("#words"))
    page.keyboard.type("red chair")
    page.keyboard.press("Enter")
    expect(page.locator("#heading")).to_have_text("“red chair”")
    expect(page.locator("#hits > [data-product]").first).to_be_visible()

    tab_until(page, page.locator("#categories .choice"))
    page.keyboard.press("Enter")
    expect(page.locator("#filter-count")).to_have_text(" · 1 set")
    expect(page.locator("#categories [aria-current]")).to_be_focused()

    tab_until(page, page.get_by_role("button", name="Why this?"))
    page.keyboard.press("Enter")
    expect(page.locator(".explanation")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(page.locator(".explanation")).to_have_count(0)
    expect(page.get_by_role("button", name="Why this?").first).to_be_focused()


def test_skip_link_leads_to_the_listings(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/?q=chair")
    expect(page.locator("#hits > [data-product]").first).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the listings")).to_be_focused()
    page.keyboard.press("Enter")

    expect(page.locator("#results")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Sort")).to_be_focused()
    assert "#" not in page.url  # where a photo would be


def test_landmarks_headings_and_count_are_for_screen_readers(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/?q=red+chair")
    expect(page.locator("#hits > [data-product]").first).to_be_visible()

    for role in ("banner", "search", "main", "contentinfo"):
        expect(page.get_by_role(role)).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    expect(page.get_by_role("heading", level=2, name="“red chair”")).to_be_visible()
    listings = page.get_by_role("list", name="“red chair”")
    assert listings.get_by_role("link").count() > 5
    expect(page.locator("#status")).to_have_attribute("role", "status")
    snapshot = page.locator("body").aria_snapshot().splitlines()
    kinds = ("- button", "- link", "- checkbox", "- spinbutton", "- textbox", "- combobox")
    controls = [line.strip() for line in snapshot if line.strip().startswith(kinds)]
    assert len(controls) > 25
    assert [line for line in controls if '"' not in line] == []


def test_page_fits_on_a_phone(open_page, server):
    page = open_page(server, **PHONE)
    assert page.evaluate(FITS)

    choose(page, photo(0))
    assert page.evaluate(FITS)
    filters = page.locator("#filters")
    assert filters.get_attribute("open") is None
    filters.locator("summary").tap()
    page.get_by_label("Blues").tap()
    page.locator("#hits [data-image=img-Blues-0]").wait_for()
    assert page.evaluate(FITS)
    filters.get_by_text("Filters · 1 set").wait_for()


def test_text_search_fits_on_a_phone(open_page, shop_server, expect):
    page = open_page(shop_server, **PHONE)
    page.locator("#roots button").first.wait_for()
    search(page, expect, "green chair")
    page.locator("#filters summary").tap()
    page.locator("#categories").get_by_role("button", name="Greens").tap()
    expect(page.locator("#filter-count")).to_have_text(" · 1 set")
    page.get_by_role("button", name="Show 7 listings").tap()
    expect(page.locator("#near")).to_be_hidden()
    expect(page.locator("#results")).to_be_focused()
    page.get_by_role("button", name="Why this?").first.tap()
    expect(page.locator(".explanation")).to_be_visible()
    assert page.evaluate(FITS)


def test_reduced_motion_disables_animations(open_page, server):
    page = open_page(server, reduced_motion="reduce")
    page.route("**/predict/**", lambda route: None)
    page.set_input_files("#file", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo(0)})

    blank = page.locator("#hits .blank").first
    blank.wait_for()
    assert blank.evaluate("one => getComputedStyle(one).animationName") == "none"


def test_controls_have_borders_in_forced_colours(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/?q=chair", forced_colors="active")
    expect(page.locator("#hits > [data-product]").first).to_be_visible()

    border = "node => getComputedStyle(node).borderStyle"
    assert page.locator("#share").evaluate(border) == "solid"
