"""Correction of queries, in a shop of some words."""

import pytest
from support.builders.small_market import count_words

from fb_marketplace_serving.search.listings.listing import Listing
from fb_marketplace_serving.search.query.spelling import Speller
from fb_marketplace_serving.search.query.vocabulary import Vocabulary


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


TITLES = {
    "Pool table": 1,
    "Book title": 20,
    "Mirror frame": 2,
    "Free pallets": 9,
    "Lamp for the floor": 2,
    "Sealed chess set": 3,
    "Seaned": 1,
    "Parker": 1,
    "Diesel": 1,
    "Dread": 1,
}


@pytest.fixture(scope="module")
def large_market(gazetteer):
    """A speller that needs six occurrences of a word, as for 10,000 listings."""
    titles = [title for title, count in TITLES.items() for _ in range(count)]
    listings = [
        Listing(str(number), title, 1.0, "GBP", "All", "All", None, None)
        for number, title in enumerate(titles)
    ]
    vocabulary = Vocabulary.from_listings(listings)._replace(listings=10_000)
    return Speller(vocabulary, count_words(titles), gazetteer)


@pytest.mark.parametrize(
    ("text", "corrected"), [("pool tible", "pool table"), ("book tible", "book title")]
)
def test_word_of_a_listing_with_the_other_words_is_chosen(large_market, text, corrected):
    assert large_market.correct(text).text == corrected


@pytest.mark.parametrize("text", ["parkker", "xarker", "iesel", "disel"])
def test_long_word_is_corrected_to_a_rare_one(large_market, text):
    assert large_market.correct(text).text in {"parker", "diesel"}


def test_short_word_is_not_corrected_to_a_rare_one(large_market):
    assert large_market.correct("xread") == ("xread", "dread")


def test_missing_letter_is_likelier_than_another_letter(large_market):
    assert large_market.correct("frae").text == "frame"


def test_word_is_not_corrected_to_a_stop_word(large_market):
    assert large_market.correct("foor").text == "floor"


def test_rare_word_is_corrected_if_the_other_words_need_it(large_market):
    assert large_market.correct("seaned chess").text == "sealed chess"
    assert large_market.correct("seaned").text == "seaned"
    assert large_market.correct("pool chess").text == "pool chess"


def test_words_are_joined_or_split_if_the_other_words_need_it(speller):
    assert speller.correct("oak book case").text == "oak bookcase"
    assert speller.correct("oak book lamp").text == "oak book lamp"


def test_word_of_descriptions_is_corrected_to_a_frequent_one(vocabulary, gazetteer):
    titles = [title for title in vocabulary.words for _ in range(30)]
    texts = [*titles, "bookcasse"]

    assert (
        Speller(vocabulary, count_words(texts), gazetteer).correct("bookcasse").text == "bookcase"
    )


def test_repeated_words_are_looked_up_once(speller, bm25, monkeypatch):
    looked_up = []
    find = type(bm25).documents_with

    def count(index, term):
        looked_up.append(term)
        return find(index, term)

    monkeypatch.setattr(type(bm25), "documents_with", count)
    speller._documents_with_all(["oak", "table"] * 20)

    assert len(looked_up) == 2
