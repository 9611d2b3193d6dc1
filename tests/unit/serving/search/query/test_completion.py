"""Completion of queries, in a shop of some words."""

import pytest

from fb_marketplace_serving.search.query.completion import Completer


@pytest.fixture(scope="module")
def completer(vocabulary, bm25, gazetteer):
    return Completer(vocabulary, bm25, gazetteer)


def texts(completer, text, limit=10):
    return [completion.text for completion in completer.complete(text, limit)]


def test_frequent_words_come_first(completer):
    assert texts(completer, "boo", limit=2) == ["bookcase", "book"]


def test_word_that_occurs_with_the_word_before_comes_first(completer):
    assert texts(completer, "comfortable boo")[0] == "comfortable book"
    assert texts(completer, "oak boo")[0] == "oak bookcase"


def test_limit_is_respected(completer):
    assert texts(completer, "b", limit=1) == ["bookcase"]


@pytest.mark.parametrize("text", ["", " ", "?", "zzz", "½"])
def test_text_without_completion_has_none(completer, text):
    assert texts(completer, text) == []


def test_category_has_its_path(completer):
    (completion,) = [c for c in completer.complete("chairs", 10) if c.kind == "category"]

    assert completion == ("Chairs & Tables", "category", "Home / Chairs & Tables")


def test_towns_with_listings_come_first(completer):
    assert texts(completer, "le") == ["Leeds", "Leek"]


def test_town_is_completed_after_in(completer):
    assert texts(completer, "Oak table in le") == ["Oak table in Leeds", "Oak table in Leek"]


def test_town_of_two_words_is_completed(completer):
    assert texts(completer, "sofa near milton k") == ["sofa near Milton Keynes"]


@pytest.mark.parametrize(
    ("text", "completed"),
    [
        ("red oak-boo", "red oak-bookcase"),
        ("oak-boo", "oak-bookcase"),
        ("red oak/boo", "red oak/bookcase"),
        ("oak   boo", "oak bookcase"),
        ("cabin/in-lee", "cabin/in-Leeds"),
        ("\u0130 in lee", "\u0130 in Leeds"),
    ],
)
def test_text_before_the_last_word_is_kept(completer, text, completed):
    assert texts(completer, text)[0] == completed


def test_query_itself_is_no_completion(completer):
    assert "table" not in texts(completer, "table")


def test_complete_word_is_not_completed(completer):
    assert texts(completer, "oak boo ") == []
