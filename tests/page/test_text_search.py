"""The page on a release with text search: words, photos, filters and pages."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from support.builders.chair_shop import photo

LISTINGS = 25
PAGE = 24


def search(page, words):
    page.get_by_label("Search text").fill(words)
    page.keyboard.press("Enter")
    page.locator("#heading", has_text=words).wait_for()


def choose(page, data):
    page.set_input_files("#file", {"name": "mine.jpg", "mimeType": "image/jpeg", "buffer": data})


def cards(page):
    return page.locator("#hits > li[data-product]")


def products(page):
    return cards(page).evaluate_all("all => all.map((one) => one.dataset.product)")


def asked_of(page):
    """Collect how the page searches: the method, and the parameters."""
    params = []
    page.on(
        "request",
        lambda request: (
            params.append((request.method, parse_qs(urlsplit(request.url).query)))
            if "/search?" in request.url
            else None
        ),
    )
    return params


def wait_for_answer(page):
    page.locator("#hits > li[data-product]").first.wait_for()
    page.locator("#hits[aria-busy]").wait_for(state="detached")


def test_words_show_listings_and_are_in_the_url(shop_page, expect):
    page = shop_page
    expect(page.get_by_role("heading", name="Find listings")).to_be_visible()

    search(page, "old oak table")

    expect(cards(page)).to_have_count(PAGE)
    expect(page.locator("#heading")).to_have_text("“old oak table”")
    expect(page.locator("#status")).to_have_text("24 listings and 1 duplicate, best first.")
    expect(page).to_have_url(re.compile(r"\?q=old\+oak\+table$"))
    result = products(page)
    assert "prd-Plain" in result

    page.reload()

    expect(cards(page)).to_have_count(PAGE)
    assert products(page) == result
    expect(page.get_by_label("Search text")).to_have_value("old oak table")


def test_listing_without_photo_is_a_link_too(shop_page, expect):
    search(shop_page, "old oak table")

    plain = shop_page.locator("[data-product=prd-Plain]")
    expect(plain).to_contain_text("No photo")
    expect(plain).to_contain_text("£20")
    expect(plain.get_by_role("link")).to_have_attribute("href", "item/prd-Plain")


def test_photo_and_words_are_combined(shop_page, expect):
    page = shop_page
    params = asked_of(page)
    choose(page, photo(0))
    expect(page.locator("#category")).to_have_text("Reds")
    expect(page.locator("#heading")).to_have_text("Most similar listings")
    expect(cards(page)).to_have_count(PAGE - 1)  # one has no photo
    expect(page.get_by_text("Describe what should be different")).to_be_visible()

    search(page, "but in blue")

    expect(page.locator("#heading")).to_have_text("Similar, and “but in blue”")
    expect(page.locator("#caption")).to_have_text("mine.jpg")
    wait_for_answer(page)
    assert [(method, query.get("q")) for method, query in params[-2:]] == [
        ("POST", None),
        ("POST", ["but in blue"]),
    ]

    page.get_by_role("button", name="Remove").click()

    expect(page.locator("#heading")).to_have_text("“but in blue”")
    expect(page.locator("#prediction")).to_be_hidden()
    page.go_back()
    expect(page.locator("#heading")).to_have_text("Similar, and “but in blue”")
    expect(page.locator("#photo")).to_be_visible()


def test_click_is_sent_with_its_search_id(open_page, listening_server):
    page = open_page(listening_server)
    searched = []
    page.on(
        "response",
        lambda response: searched.append(response.json()) if "/search?" in response.url else None,
    )
    search(page, "red chair")
    wait_for_answer(page)
    second = page.locator("#hits a.listing").nth(1)
    product_id = second.locator("..").get_attribute("data-product")

    with page.expect_response("**/clicks") as output:
        second.click(button="middle")

    assert output.value.json() == {"recorded": True}
    click = output.value.request.post_data_json
    assert click["product_id"] == product_id
    visible = {item["search_id"]: item["hits"] for item in searched if item["search_id"]}
    assert product_id in [hit["product_id"] for hit in visible[click["search_id"]]]


def test_no_click_is_sent_for_the_context_menu(open_page, listening_server):
    page = open_page(listening_server)
    search(page, "red chair")
    wait_for_answer(page)
    clicks = []
    page.on("request", lambda request: clicks.append(request.post_data_json))
    first, second = (page.locator("#hits a.listing").nth(number) for number in (0, 1))

    first.click(button="right")
    with page.expect_response("**/clicks"):
        second.click(button="middle")

    product_id = second.locator("..").get_attribute("data-product")
    assert [click["product_id"] for click in clicks if click] == [product_id]


def test_no_click_is_sent_without_feedback(shop_page):
    params = []
    shop_page.on("request", lambda request: params.append(request.url))
    search(shop_page, "red chair")
    wait_for_answer(shop_page)

    shop_page.locator("#hits a.listing").first.click()
    shop_page.locator("article h1").wait_for()

    assert not [url for url in params if url.endswith("/clicks")]


def test_result_can_be_searched_without_itself(shop_page, expect):
    page = shop_page
    search(page, "red chair")
    wait_for_answer(page)
    image_id = "img-Reds-3"
    page.locator(f"#hits [data-image={image_id}] a.listing").click()
    page.get_by_role("link", name="Search by photo").click()

    expect(page).to_have_url(re.compile(rf"\?like={image_id}$"))
    expect(page.locator("#category")).to_be_visible()
    wait_for_answer(page)
    expect(page.locator(f"[data-image={image_id}]")).to_have_count(0)
    expect(page.get_by_label("Search text")).to_have_value("")


def test_facet_narrows_and_back_removes_it(shop_page, expect):
    page = shop_page
    page.get_by_role("list", name="Browse by category").get_by_role(
        "button", name="Blues 9"
    ).click()
    expect(page.locator("#status")).to_have_text("9 listings matching these filters.")

    page.locator("#categories").get_by_role("button", name="Stools 2").click()

    expect(cards(page)).to_have_count(2)
    assert sorted(products(page)) == ["prd-Blues-6", "prd-Blues-7"]
    expect(page).to_have_url(re.compile(r"category=Blues\+%2F\+Stools"))
    expect(page.locator("#categories [aria-current]")).to_have_text("Stools")
    expect(page.locator("#categories [aria-current]")).to_be_focused()

    page.go_back()
    expect(page.locator("#status")).to_have_text("9 listings matching these filters.")
    page.locator("#categories").get_by_role("button", name="All categories").click()
    expect(page.locator("#status")).to_have_text("24 listings and 1 duplicate.")


def test_price_bands_show_their_counts(shop_page, expect):
    page = shop_page
    search(page, "chair")
    band = page.locator("#bands").get_by_role("button", name="£10 to £25")
    expect(band).to_have_text("£10 to £25 7")

    band.click()

    expect(page.locator("#status")).to_contain_text("matching these filters")
    prices = page.locator("#hits .price").all_inner_texts()
    assert set(prices) == {"£10", "£20"}
    expect(page.get_by_label("to", exact=True)).to_have_value("24.99")
    page.locator("#bands").get_by_role("button", name="any price").click()
    expect(page).to_have_url(re.compile(r"\?q=chair$"))
    expect(page.get_by_label("to", exact=True)).to_have_value("")


def value_of(page, kind, value):
    return page.get_by_role("group", name=kind).get_by_role("button", name=re.compile(f"^{value}"))


def test_attribute_filters_until_it_is_released(shop_page, expect):
    page = shop_page
    search(page, "chair")
    red = value_of(page, "Colour", "red")
    expect(red).to_have_attribute("aria-pressed", "false")
    count = int(red.locator(".number").inner_text())

    red.click()

    expect(page).to_have_url(re.compile(r"\?q=chair&attribute=colour%3Ared$"))
    expect(cards(page)).to_have_count(count)
    assert all(name.startswith("prd-Reds-") for name in products(page))
    expect(red).to_have_attribute("aria-pressed", "true")
    expect(red).to_be_focused()
    expect(page.locator("#filter-count")).to_have_text(" · 1 set")

    red.click()
    expect(page).to_have_url(re.compile(r"\?q=chair$"))
    expect(red).to_have_attribute("aria-pressed", "false")


def test_attributes_and_other_filters_are_cleared_together(shop_page, expect):
    page = shop_page
    search(page, "chair")
    value_of(page, "Colour", "red").click()
    expect(page.locator("#filter-count")).to_have_text(" · 1 set")

    page.get_by_label("With photo only").check()

    expect(page).to_have_url(re.compile(r"attribute=colour%3Ared&has_photo=true$"))
    page.get_by_role("button", name="Clear filters").click()
    expect(page).to_have_url(re.compile(r"\?q=chair$"))


def test_attribute_of_a_link_without_hits_can_be_released(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/?q=chair&attribute=colour:purple")
    purple = value_of(page, "Colour", "purple")
    expect(purple).to_have_attribute("aria-pressed", "true")
    expect(cards(page)).to_have_count(0)

    purple.click()

    expect(cards(page)).not_to_have_count(0)
    expect(purple).to_have_count(0)


def test_second_attribute_is_added_before_the_first_answer(shop_page, expect):
    page = shop_page
    search(page, "chair")
    red, green = value_of(page, "Colour", "red"), value_of(page, "Colour", "green")
    page.route(
        "**/search?*attribute*", lambda route: (page.wait_for_timeout(300), route.continue_())
    )

    red.click()
    expect(red).to_have_attribute("aria-pressed", "true")
    green.click()

    expect(page).to_have_url(re.compile(r"attribute=colour%3Ared&attribute=colour%3Agreen$"))
    green.click()
    expect(page).to_have_url(re.compile(r"\?q=chair&attribute=colour%3Ared$"))
    red.click()
    expect(page).to_have_url(re.compile(r"\?q=chair$"))


@pytest.mark.parametrize("query", ["attribute=foo", "attribute=colour:", "attribute=%3Ared"])
def test_malformed_attribute_of_a_link_is_ignored(open_page, shop_server, expect, query):
    page = open_page(f"{shop_server}/?q=chair&{query}")

    expect(cards(page)).not_to_have_count(0)
    expect(page.locator("#filter-count")).to_have_text("")


def test_repeated_attribute_of_a_link_counts_once(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/?q=chair&attribute=colour:red&attribute=colour:red")

    expect(page.locator("#filter-count")).to_have_text(" · 1 set")


def test_distances_are_shown_and_sorted(shop_page, expect):
    page = shop_page
    search(page, "chair")
    wait_for_answer(page)
    order = page.get_by_label("Sort")
    expect(order.locator("[value=distance]")).to_be_disabled()

    page.get_by_label("near", exact=True).fill("York")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("near=York"))
    order.select_option("distance")

    expect(page.locator("#status")).to_contain_text("nearest first")
    expect(cards(page).first).to_contain_text("York · under 1 km away")
    page.get_by_label("within").select_option("50")
    expect(page).to_have_url(re.compile("radius_km=50"))
    expect(page.locator("#status")).to_contain_text("matching these filters, nearest first")
    assert {name.split("-")[1] for name in products(page)} <= {"Greens", "Reds"}


def test_unknown_town_shows_server_message(shop_page, expect):
    page = shop_page
    search(page, "chair")
    wait_for_answer(page)

    page.get_by_label("near", exact=True).fill("Yorck")
    page.keyboard.press("Enter")

    expect(page.locator("#error")).to_contain_text("Yorck")
    expect(page.locator("#error")).to_contain_text("York")
    page.locator("#error").get_by_role("button", name="Clear filters").click()
    expect(cards(page)).to_have_count(PAGE)


def test_results_are_sorted_by_price_with_photo_only(shop_page, expect):
    page = shop_page
    search(page, "table")
    wait_for_answer(page)

    page.get_by_label("Sort").select_option("price_desc")
    expect(page.locator("#status")).to_contain_text("most expensive first")
    assert page.locator("#hits .price").first.inner_text() == "£60"
    page.get_by_label("With photo only").check()
    expect(page.locator("#status")).to_contain_text("23 listings")

    assert "sort=price_desc" in page.url
    assert "has_photo=true" in page.url


def test_results_are_sorted_by_date(shop_page, expect):
    page = shop_page
    search(page, "chair")
    wait_for_answer(page)

    page.get_by_label("Sort").select_option("newest")

    expect(page.locator("#status")).to_contain_text("newest first")
    expect(cards(page).first).to_contain_text("26 Feb 2022")
    assert "sort=newest" in page.url


def test_hit_counts_its_duplicates(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/?q=green+chair&category=Greens")
    folded = cards(page).filter(has_text="1 more like this")
    expect(folded).to_have_count(1)
    link = folded.locator("a.listing")
    link.click()

    same = page.locator("details", has_text="The same item, listed again")
    same.locator("summary").click()
    expect(same.get_by_role("link")).to_have_count(1)
    names = {
        page.url.split("/item/")[1].split("?")[0],
        same.get_by_role("link").get_attribute("href"),
    }
    assert names in (
        {"prd-Greens-0", "item/prd-Greens-1"},
        {"prd-Greens-1", "item/prd-Greens-0"},
    )


def amount(text):
    return float(text.replace("−", "-"))


@pytest.mark.parametrize("with_photo", [False, True])
def test_score_explanation_sums_to_score(shop_page, expect, with_photo):
    page = shop_page
    params = asked_of(page)
    if with_photo:
        choose(page, photo(1))
    search(page, "red chair")
    expect(page.locator("#heading")).to_contain_text("red chair")
    wait_for_answer(page)
    assert not any("explain" in query for _, query in params)

    cards(page).nth(2).get_by_role("button", name="Why this?").click()

    why = page.locator("#hits > .panel .explanation")
    expect(why).to_be_visible()
    parts = [amount(text) for text in why.locator("tbody .number").all_inner_texts()]
    assert len(parts) > 2
    score = amount(why.locator("tfoot .number").inner_text())
    assert sum(parts) == pytest.approx(score, abs=0.001)
    assert why.locator("tbody .beam").count() == len(parts)
    expect(page.locator("#hits > .panel")).to_contain_text("Found by")
    explained = [query for _, query in params if query.get("explain") == ["true"]]
    assert [(query["limit"], query["offset"]) for query in explained] == [(["1"], ["2"])]


def test_price_insights_are_shown_with_evidence(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/?q=red+chair&category=Reds")
    expect(page.locator("[data-product=prd-Reds-2]")).to_contain_text("Similar listings: £15–£25")
    noted = page.locator("[data-product=prd-Reds-6]")
    expect(noted.locator(".note")).to_contain_text("Comparable listings have other prices.")

    noted.locator("a.listing").click()

    note = page.locator("details.note", has_text="Comparable listings have other prices.")
    note.locator("summary").click()
    expect(note.get_by_role("link")).to_have_count(12)


def test_release_without_text_search_takes_a_photo(open_page, server, expect):
    page = open_page(f"{server}/?q=red+chair")

    trouble = page.locator("#error")
    expect(trouble).to_contain_text("This release supports photo search only")
    expect(page.get_by_label("Search text")).to_be_hidden()
    with page.expect_file_chooser() as chooser:
        trouble.get_by_role("button", name="Choose a photo").click()
    chooser.value.set_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo(0)})
    expect(cards(page)).to_have_count(PAGE)
    expect(page.locator("#heading")).to_have_text("Most similar listings")


def test_correction_can_be_taken_back(shop_page, expect):
    page = shop_page
    search(page, "old oak tabel")

    meaning = page.locator("#meaning")
    expect(meaning).to_contain_text(
        "Showing results for old oak table. Search instead for old oak tabel"
    )
    meaning.get_by_role("button", name="old oak tabel").click()

    expect(meaning).not_to_contain_text("Showing results")
    expect(page).to_have_url(re.compile(r"\?q=old\+oak\+tabel&ignore=spelling$"))
    expect(page.get_by_label("Search text")).to_have_value("old oak tabel")


def test_price_and_place_of_words_can_be_removed(shop_page, expect):
    page = shop_page
    asked = asked_of(page)
    search(page, "chair under £15 in Leeds")
    wait_for_answer(page)

    expect(page.locator("#status")).to_contain_text("2 listings")
    page.get_by_role("button", name="Remove “within 25 km of Leeds”").click()
    wait_for_answer(page)

    assert asked[-1][1]["ignore"] == ["place"]
    page.get_by_role("button", name="Remove “up to £15”").click()
    wait_for_answer(page)

    assert asked[-1][1]["ignore"] == ["place", "price"]
    expect(page.locator("#meaning")).to_be_empty()


def test_category_of_words_can_be_chosen(shop_page, expect):
    page = shop_page
    search(page, "green chair")
    page.get_by_role("button", name="only Greens").click()
    wait_for_answer(page)

    expect(page).to_have_url(re.compile("category=Greens"))
    assert all(product.startswith("prd-Greens") for product in products(page))


def test_start_page_shows_all_listings_without_dates(open_page, shop_server, expect):
    page = open_page(f"{shop_server}/?q=chair")
    problem = {"type": "about:blank", "title": "Invalid", "status": 422, "detail": "no dates"}
    page.route(
        re.compile("sort=newest"),
        lambda route: route.fulfill(
            status=422, content_type="application/problem+json", json=problem
        ),
    )
    expect(cards(page).first).to_be_visible()
    page.get_by_role("link", name="fb-marketplace, start page").click()

    expect(page.locator("#heading")).to_have_text("All listings")
    expect(page.locator("#status")).to_have_text("24 listings and 1 duplicate.")
