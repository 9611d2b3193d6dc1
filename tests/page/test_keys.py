from support.builders.chair_shop import KEY, photo


def give(page, key):
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use this key").click()


def test_page_asks_for_key_and_rejects_wrong_one(open_page, locked_server, expect):
    page = open_page(locked_server)
    dialog = page.get_by_role("dialog", name="This server requires a key")
    expect(dialog).to_be_visible()
    expect(page.get_by_label("Key", exact=True)).to_be_focused()

    give(page, "a-key-that-nobody-has")
    expect(dialog).to_contain_text("This key is not accepted")

    give(page, KEY)
    expect(dialog).to_be_hidden()
    page.set_input_files("#file", {"name": "red.jpg", "mimeType": "image/jpeg", "buffer": photo(0)})
    expect(page.locator("#hits .tile.loaded").nth(11)).to_be_visible()

    page.reload()
    expect(page.locator("#size")).to_have_text("24 photos of 24 listings.")
    expect(dialog).to_be_hidden()
    assert page.evaluate("localStorage.length + document.cookie.length") == 0


def test_page_does_not_search_without_key(open_page, locked_server, expect):
    page = open_page(locked_server)
    page.get_by_role("button", name="Not now").click()
    page.set_input_files("#file", {"name": "red.jpg", "mimeType": "image/jpeg", "buffer": photo(0)})
    page.get_by_role("button", name="Not now").click()

    expect(page.locator("#error")).to_contain_text("This server requires a key")
    page.get_by_role("button", name="Enter a key").click()
    give(page, KEY)
    expect(page.locator("#hits .tile.loaded").nth(11)).to_be_visible()
    expect(page.locator("#categories input")).to_have_count(3)
