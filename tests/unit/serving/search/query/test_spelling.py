"""Correction of queries, in a shop of some words."""

import pytest

from fb_marketplace_serving.search.query.spelling import Speller


@pytest.fixture(scope="module")
def speller(vocabulary, bm25, gazetteer):
    return Speller(vocabulary, bm25, gazetteer)


@pytest.mark.parametrize(
    ("text", "corrected"),
    [
        ("bokcase", "bookcase"),
        ("oak bookcaes", "oak bookcase"),
        ("Oak BOOKCSE!", "Oak bookcase!"),
        ("tabel", "table"),
        ("conforteble", "comfortable"),
        ("oaktable", "oak table"),
        ("iphone12", "iphone 12"),
        ("arm chiar", "arm chiar"),
        ("armchiar", "armchair"),
        ("sofa in leedss", "sofa in leeds"),
    ],
)
def test_unknown_word_is_corrected(speller, text, corrected):
    assert speller.correct(text).text == corrected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "oak bookcase",
        "bookcases",  # the same stem
        "velvet",  # only in descriptions
        "lichfield",  # a town without listings
        "lmp",  # too short
        "xyz12345",  # a model number
        "telescope",  # nothing is close
        "gadget",  # "Gadgets" is only a category
    ],
)
def test_word_without_mistake_is_not_corrected(speller, text):
    assert speller.correct(text) == (text, None)


def test_word_of_four_letters_has_one_edit(speller):
    assert speller.correct("lapm").text == "lamp"
    assert speller.correct("lxxp").text == "lxxp"


def test_joined_words_are_offered_if_both_are_known(speller):
    assert speller.correct("book case") == ("book case", "bookcase")


def test_joined_words_are_not_offered_if_listings_have_both(speller):
    assert speller.correct("phone case") == ("phone case", None)


def test_joined_words_are_corrected_if_one_is_unknown(speller):
    assert speller.correct("red arm chair").text == "red armchair"


def test_word_of_one_listing_is_not_corrected_but_offered(speller):
    assert speller.correct("bookcsae") == ("bookcsae", "bookcase")


def test_skipped_part_is_not_corrected(speller):
    assert speller.correct("tabel bokcase", [(0, 5)]).text == "tabel bookcase"


def test_uncertain_correction_is_offered(speller):
    # A short word with another first letter may be a word that no listing has.
    assert speller.correct("camp") == ("camp", "lamp")
