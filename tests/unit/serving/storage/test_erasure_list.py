import json

import pytest

from fb_marketplace_serving.storage.erasure_list import (
    EMPTY_ERASURE_LIST,
    FILE,
    add_to_erasure_list,
    read_erasure_list,
)
from fb_marketplace_serving.storage.lake import ConcurrentWriteError, Lake


def test_missing_file_is_an_empty_list(tmp_path):
    assert read_erasure_list(Lake(str(tmp_path))) == EMPTY_ERASURE_LIST
    assert not EMPTY_ERASURE_LIST.has_product("p")


def test_erased_listings_have_their_photos(tmp_path):
    add_to_erasure_list(Lake(str(tmp_path)), ["p"], ["i", "j"])
    add_to_erasure_list(Lake(str(tmp_path)), ["q"], [])

    output = read_erasure_list(Lake(str(tmp_path)))

    assert [output.has_product(name) for name in "pqri"] == [True, True, False, False]
    assert [output.has_image(name) for name in "ijkp"] == [True, True, False, False]


def test_file_has_no_names_and_a_salt_per_lake(tmp_path):
    for name in ("one", "other"):
        add_to_erasure_list(Lake(str(tmp_path / name)), ["product-123"], ["image-123"])

    texts = [(tmp_path / name / FILE).read_text() for name in ("one", "other")]

    assert not any("123-" in text or "-123" in text for text in texts)
    assert not set(json.loads(texts[0])["products"]) & set(json.loads(texts[1])["products"])


def test_concurrent_additions_are_both_kept(tmp_path, monkeypatch):
    add_to_erasure_list(Lake(str(tmp_path)), ["p"], [])
    replace_if = Lake.replace_if

    def late(store, path, data, tag):
        monkeypatch.setattr(Lake, "replace_if", replace_if)
        add_to_erasure_list(Lake(str(tmp_path)), ["q"], [])
        replace_if(store, path, data, tag)

    monkeypatch.setattr(Lake, "replace_if", late)
    with pytest.raises(ConcurrentWriteError):
        add_to_erasure_list(Lake(str(tmp_path)), ["r"], [])

    assert read_erasure_list(Lake(str(tmp_path))).has_product("q")
