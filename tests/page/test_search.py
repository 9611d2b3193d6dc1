import re

import pytest
from support.builders.chair_shop import MARKUP, MAX_UPLOAD_BYTES, photo

RED, GREEN, BLUE = range(3)
RED_IDS = [f"img-Reds-{shade}" for shade in range(8)]


def choose(page, data, name="photo.jpg"):
    page.set_input_files("#file", {"name": name, "mimeType": "image/jpeg", "buffer": data})


def cards(page):
    return page.locator("#hits li[data-image]")


def image_ids(page):
    return cards(page).evaluate_all("all => all.map((one) => one.dataset.image)")


def test_photo_shows_category_and_similar_listings(page, expect):
    expect(page.get_by_role("heading", name="Find listings by photo")).to_be_visible()

    choose(page, photo(RED))

    expect(page.locator("#category")).to_have_text("Reds")
    expect(page.locator("#probabilities li")).to_have_count(3)
    expect(page.locator("#probabilities li").first).to_contain_text(
        re.compile(r"confidence (9\d|100)%")
    )
    expect(cards(page)).to_have_count(24)
    expect(page.locator("#hits .tile.loaded").nth(11)).to_be_visible()
    expect(page.locator("#status")).to_have_text("All 24 listings, most similar first.")
    assert sorted(image_ids(page)[:8]) == RED_IDS
    assert image_ids(page)[0] == RED_IDS[0]


def test_card_shows_title_price_and_town(page, expect):
    choose(page, photo(RED))

    texts = ["Free", "Leeds", "similarity 1.00"]
    for text in texts:
        expect(cards(page).first).to_contain_text(text)
    by_id = {name: page.locator(f"[data-image=img-Reds-{name}]") for name in (1, 2, 7)}
    expect(by_id[1]).to_contain_text("£10")
    # What a listing says is text, whatever it looks like.
    expect(by_id[1]).to_contain_text(MARKUP)
    expect(by_id[2]).to_contain_text("Unknown location")
    expect(by_id[7]).to_contain_text("No price")


def test_letterbox_bars_are_not_shown(page, expect):
    choose(page, photo(RED))

    image = page.locator("#hits .tile.loaded img").first
    expect(image).to_have_attribute("style", re.compile(r"scale\(1\.3\d*\)"))


def test_decoded_photos_are_released(page):
    left = page.evaluate(
        """async () => {
            const decode = window.createImageBitmap;
            let open = 0;
            window.createImageBitmap = async (...all) => {
                const bitmap = await decode(...all);
                const close = bitmap.close.bind(bitmap);
                bitmap.close = () => { open -= 1; close(); };
                open += 1;
                return bitmap;
            };
            const { growth } = await import("/web/letterbox.js");
            for (const [width, height] of [[256, 256], [256, 200], [1024, 768]]) {
                const canvas = new OffscreenCanvas(width, height);
                canvas.getContext("2d").fillRect(0, 0, 9, 9);
                await growth(await canvas.convertToBlob());
            }
            return open;
        }"""
    )

    assert left == 0


def test_filters_apply_and_are_in_the_url(page, expect):
    choose(page, photo(RED))
    expect(cards(page)).to_have_count(24)

    page.get_by_label("Greens").check()
    expect(cards(page)).to_have_count(8)
    page.get_by_label("from").fill("20")
    page.get_by_label("to", exact=True).fill("40")

    expect(cards(page)).to_have_count(3)
    assert sorted(image_ids(page)) == ["img-Greens-2", "img-Greens-3", "img-Greens-4"]
    expect(page).to_have_url(re.compile(r"category=Greens&min_price=20&max_price=40"))
    expect(page.locator("#status")).to_have_text(
        "All 3 listings matching these filters, most similar first."
    )


def test_filters_without_results_can_be_cleared(page, expect):
    choose(page, photo(RED))
    expect(cards(page)).to_have_count(24)

    page.get_by_label("from").fill("500")

    expect(page.locator("#status")).to_have_text("No listings match these filters.")
    page.locator("#error").get_by_role("button", name="Clear filters").click()
    expect(cards(page)).to_have_count(24)
    expect(page.get_by_label("from")).to_have_value("")


def test_inverted_price_range_is_not_requested(page, expect):
    choose(page, photo(RED))
    page.get_by_label("from").fill("50")
    expect(page).to_have_url(re.compile("min_price=50"))

    page.get_by_label("to", exact=True).fill("5")

    expect(page.get_by_text("The minimum price is above the maximum.")).to_be_visible()
    assert "max_price" not in page.url


def test_listing_with_many_photos_is_shown_once(page, expect):
    params = []

    def make_one_of_eight(route):
        params.append(route.request.url)
        response = route.fetch()
        hits = response.json()["hits"]
        for hit in hits:
            hit["product_id"] = hit["image_id"].removesuffix(hit["image_id"].split("-")[2])
        route.fulfill(response=response, json={"hits": hits})

    page.route("**/similar_images?*", make_one_of_eight)
    choose(page, photo(RED))

    expect(page.locator("#status")).to_have_text("All 3 listings, most similar first.")
    assert image_ids(page)[0] == RED_IDS[0]
    assert len({name[:7] for name in image_ids(page)}) == 3
    assert ["limit=48" in params[0], len(params)] == [True, 1]


def test_result_can_be_searched_and_back_returns(page, expect):
    choose(page, photo(RED))
    page.locator("#hits .tile.loaded").first.wait_for()
    chosen = cards(page).nth(9)
    chosen.scroll_into_view_if_needed()
    scroll = page.evaluate("scrollY")
    image_id, title = chosen.get_attribute("data-image"), chosen.locator(".title").inner_text()

    chosen.locator("a").click()
    page.get_by_role("link", name="Search by photo").click()

    expect(page.locator("#caption")).to_have_text(title)
    expect(page.locator(f"#hits [data-image={image_id}]")).to_have_count(0)
    expect(cards(page)).to_have_count(23)  # without itself
    assert f"like={image_id}" in page.url

    page.go_back()
    page.go_back()

    expect(page.locator("#caption")).to_have_text("photo.jpg")
    expect(page.locator(f"[data-image={image_id}] a")).to_be_focused()
    assert page.evaluate("scrollY") == pytest.approx(scroll, abs=2)

    page.go_back()

    expect(page.get_by_role("heading", name="Find listings by photo")).to_be_visible()


def test_search_url_opens_the_search(open_page, server, expect):
    page = open_page(f"{server}/?like=img-Greens-3&category=Greens&max_price=40")

    expect(page.locator("#category")).to_have_text("Greens")
    expect(cards(page)).to_have_count(4)  # it is not like itself
    expect(page.locator("#caption")).to_have_text("Green chair 3")
    expect(page.get_by_label("Greens")).to_be_checked()
    expect(page.get_by_label("to", exact=True)).to_have_value("40")


HAND_OVER = """([kind, base64]) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], `${kind}.jpg`, { type: "image/jpeg" }));
    const options = { bubbles: true, cancelable: true };
    if (kind === "drop") {
        document.body.dispatchEvent(new DragEvent("dragenter", { ...options, dataTransfer: transfer }));
        document.body.dispatchEvent(new DragEvent("drop", { ...options, dataTransfer: transfer }));
    } else {
        document.body.dispatchEvent(new ClipboardEvent("paste", { ...options, clipboardData: transfer }));
    }
}"""


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_photo_can_be_dropped_or_pasted(page, expect, kind):
    import base64

    page.evaluate(HAND_OVER, [kind, base64.b64encode(photo(GREEN)).decode()])

    expect(page.locator("#caption")).to_have_text(f"{kind}.jpg")
    expect(page.locator("#category")).to_have_text("Greens")
    expect(page.locator("#dropping")).to_be_hidden()


def test_latest_search_wins(page, expect):
    existing = []

    def hold_the_first(route):
        if len(existing) < 2:
            existing.append(route)
        else:
            route.continue_()

    page.route("**/predict/**", hold_the_first)
    choose(page, photo(RED), "first.jpg")
    expect(page.locator("#hits .blank")).to_have_count(24)
    expect(page.locator("#status")).to_have_text("Searching for similar listings…")
    while len(existing) < 2:
        page.wait_for_timeout(50)

    choose(page, photo(BLUE), "second.jpg")
    expect(page.locator("#category")).to_have_text("Blues")
    expect(cards(page)).to_have_count(24)
    for route in existing:
        route.continue_()
    page.wait_for_timeout(200)

    expect(page.locator("#caption")).to_have_text("second.jpg")
    expect(page.locator("#category")).to_have_text("Blues")
    expect(cards(page).first).to_have_attribute("data-image", "img-Blues-0")


# What goes wrong


def test_broken_file_is_reported_and_replaceable(page, expect):
    choose(page, b"no photo at all", "holiday.jpg")

    alert = page.locator("#error")
    expect(alert).to_contain_text("This file is not a supported photo")
    expect(alert).to_contain_text("JPEG, PNG, WebP")
    expect(page.get_by_text("No preview")).to_be_visible()
    with page.expect_file_chooser() as chooser:
        alert.get_by_role("button", name="Choose another photo").click()
    chooser.value.set_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo(RED)})
    expect(cards(page)).to_have_count(24)
    expect(alert).to_be_empty()


def test_truncated_photo_is_reported(page, expect):
    data = photo(RED, size=(2000, 1500))
    choose(page, data[: len(data) // 2])

    expect(page.locator("#error")).to_contain_text("This photo cannot be read")


@pytest.mark.parametrize("times", [1.05, 10])
def test_photo_over_limit_shows_server_message(page, expect, times):
    # The page sends a smaller copy of a photo, but the original of a file that it cannot read.
    choose(page, b"no photo" + bytes(int(times * MAX_UPLOAD_BYTES)))

    expect(page.locator("#error")).to_contain_text("This photo is too large")
    expect(page.locator("#error")).to_contain_text(f"{MAX_UPLOAD_BYTES:,}")


def busy(page, times, seconds=1):
    left = {"image": times, "similar_images": times}

    def answer(route):
        what = route.request.url.split("/")[-1].split("?")[0]
        left[what] -= 1
        if left[what] < 0:
            route.continue_()
            return
        problem = '{"type": "about:blank", "title": "Busy", "status": 503, "detail": "all at work"}'
        headers = {"Retry-After": str(seconds), "Content-Type": "application/problem+json"}
        route.fulfill(status=503, headers=headers, body=problem)

    page.route("**/predict/**", answer)


def test_busy_server_is_retried_after_retry_after(page, expect):
    busy(page, times=1, seconds=2)
    choose(page, photo(RED))

    expect(page.locator("#status")).to_contain_text("Retrying in 2 s")
    expect(cards(page)).to_have_count(24)


def test_busy_server_can_be_retried_by_hand(page, expect):
    busy(page, times=2)
    choose(page, photo(RED))

    expect(page.locator("#error")).to_contain_text("The server is busy")
    expect(page.locator("#error")).to_contain_text("All at work.")
    page.get_by_role("button", name="Try again").click()
    expect(cards(page)).to_have_count(24)


def test_missing_response_is_reported(page, expect):
    page.route("**/predict/**", lambda route: route.abort())
    choose(page, photo(RED))

    expect(page.locator("#error")).to_contain_text("No answer from the server")


def test_uncertain_category_is_marked(page, expect):
    body = (
        '{"category": "Reds", "confidence": 0.4, "abstained": true, "probabilities": {"Reds": 0.4}}'
    )
    page.route(
        "**/predict/image", lambda route: route.fulfill(body=body, content_type="application/json")
    )
    choose(page, photo(RED))

    expect(page.locator("#category")).to_have_text("Not sure – perhaps Reds")


def test_attribute_of_a_link_is_ignored_without_text_search(open_page, server, expect):
    page = open_page(f"{server}/?like=img-Reds-0&attribute=colour:red")

    page.locator("#hits > li").first.wait_for()

    expect(page.locator("#filter-count")).to_have_text("")
    expect(page.locator("#status")).not_to_contain_text("matching these filters")
