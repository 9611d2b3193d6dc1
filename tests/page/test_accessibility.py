"""For whom the page works: by keyboard, on a phone, in light and dark."""

import pytest
from support.builders.chair_shop import photo

FITS = "document.documentElement.scrollWidth <= innerWidth"

# Contrast as WCAG 2.2 has it, of a text to the nearest background that is not transparent.
CONTRAST = """element => {
    const canvas = document.createElement("canvas").getContext("2d");
    const rgb = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = (colour) => rgb(colour).slice(0, 3)
        .map((part) => part / 255)
        .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
    let behind = element;
    while (rgb(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
    const both = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor].map(light);
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
}"""

TEXTS = [
    "h2#heading", "#status", "#caption", ".button", "#category", "#probabilities li:last-child",
    "#categories label", "legend", ".title", ".town", "#size", "footer p", "footer a", "#more",
]  # fmt: skip


def choose(page, data):
    page.set_input_files("#file", {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": data})
    page.locator("#hits .tile.loaded").nth(11).wait_for()


def tab_to(page, selector):
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"60 tabs did not reach {selector}")


def test_page_works_by_keyboard(page, expect):
    # Listened for from the start: a key is quicker than the browser's being told to hand it over.
    page.on(
        "filechooser",
        lambda chooser: chooser.set_files(
            {"name": "red.jpg", "mimeType": "image/jpeg", "buffer": photo(0)}
        ),
    )
    tab_to(page, "#file")
    page.keyboard.press("Enter")
    expect(page.locator("#hits li[data-image]")).to_have_count(12)

    tab_to(page, "[value=Reds]")
    page.keyboard.press("Space")
    expect(page.locator("#hits li[data-image]")).to_have_count(8)
    tab_to(page, "#hits a")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"
    page.keyboard.press("Enter")

    expect(page.locator("#caption")).to_have_text("Red chair 0")
    expect(page.locator("#caption")).to_be_focused()
    page.go_back()  # headless, no key does it
    expect(page.locator("[data-image=img-Reds-0] a")).to_be_focused()


def test_page_fits_on_a_phone(open_page, server):
    page = open_page(server, viewport={"width": 360, "height": 740}, has_touch=True)
    assert page.evaluate(FITS)

    choose(page, photo(0))
    assert page.evaluate(FITS)
    filters = page.locator("#filters")
    assert filters.get_attribute("open") is None
    filters.locator("summary").tap()
    page.get_by_label("Blues").tap()
    page.locator("#hits [data-image=img-Blues-0]").wait_for()
    assert page.evaluate(FITS)
    assert filters.locator("summary").inner_text() == "Filters · 1 set"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast_in_light_and_dark(open_page, server, scheme):
    page = open_page(server, color_scheme=scheme)
    choose(page, photo(0))

    contrasts = {text: page.locator(text).first.evaluate(CONTRAST) for text in TEXTS}

    assert {text: ratio for text, ratio in contrasts.items() if ratio < 4.5} == {}
    dark = page.evaluate("getComputedStyle(document.body).color") == "rgb(236, 238, 242)"
    assert dark == (scheme == "dark")


def test_every_control_has_a_name(page):
    choose(page, photo(0))

    snapshot = page.locator("body").aria_snapshot().splitlines()
    kinds = ("- button", "- link", "- checkbox", "- spinbutton", "- textbox")
    controls = [line.strip() for line in snapshot if line.strip().startswith(kinds)]
    assert len(controls) > 15
    assert [line for line in controls if '"' not in line] == []


def test_reduced_motion_disables_animations(open_page, server):
    page = open_page(server, reduced_motion="reduce")
    page.route("**/predict/**", lambda route: None)
    page.set_input_files("#file", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo(0)})

    blank = page.locator("#hits .blank").first
    blank.wait_for()
    assert blank.evaluate("one => getComputedStyle(one).animationName") == "none"


# Where words are searched by too


def tab_until(page, seen):
    for _ in range(80):
        page.keyboard.press("Tab")
        if seen.evaluate_all("all => all.includes(document.activeElement)"):
            return
    raise AssertionError(f"80 tabs did not reach {seen}")


def test_text_search_works_by_keyboard(shop_page, expect):
    page = shop_page
    tab_until(page, page.locator("#words"))
    page.keyboard.type("red chair")
    page.keyboard.press("Enter")
    expect(page.locator("#hits > [data-product]")).to_have_count(12)

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


def test_text_search_fits_on_a_phone(open_page, shop_server, expect):
    page = open_page(shop_server, viewport={"width": 360, "height": 740}, has_touch=True)
    page.locator("#roots button").first.wait_for()
    assert page.evaluate(FITS)

    page.get_by_label("Search text").fill("green chair")
    page.get_by_role("button", name="Search").tap()
    expect(page.locator("#hits > [data-product]")).to_have_count(12)
    assert page.evaluate(FITS)
    page.locator("#filters summary").tap()
    assert page.evaluate(FITS)
    page.locator("#categories").get_by_role("button", name="Greens").tap()
    expect(page.locator("#filter-count")).to_have_text(" · 1 set")
    expect(page.locator("#hits > [data-product]")).to_have_count(7)
    page.get_by_role("button", name="Why this?").first.tap()
    expect(page.locator(".explanation")).to_be_visible()
    assert page.evaluate(FITS)
    page.get_by_role("button", name="1 more like this").tap()
    expect(page.locator(".few li")).to_have_count(1)
    assert page.evaluate(FITS)


WORDS_TEXTS = [
    ".choice .number", ".opener", ".typical", ".note", ".panel h3", ".panel .small", ".explanation th",
    ".explanation .number", ".sort", "#sort", ".place label", ".crumbs .choice",
]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_search_has_contrast_and_names(open_page, shop_server, expect, scheme):
    page = open_page(f"{shop_server}/?q=red+chair&category=Reds", color_scheme=scheme)
    page.get_by_role("button", name="Why this?").first.click()
    expect(page.locator(".explanation")).to_be_visible()

    contrasts = {text: page.locator(text).first.evaluate(CONTRAST) for text in WORDS_TEXTS}

    assert {text: ratio for text, ratio in contrasts.items() if ratio < 4.5} == {}
    snapshot = page.locator("body").aria_snapshot().splitlines()
    kinds = (
        "- button",
        "- link",
        "- checkbox",
        "- spinbutton",
        "- textbox",
        "- searchbox",
        "- combobox",
    )
    controls = [line.strip() for line in snapshot if line.strip().startswith(kinds)]
    assert len(controls) > 25
    assert [line for line in controls if '"' not in line] == []
