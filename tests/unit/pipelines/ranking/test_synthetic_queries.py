import pandas as pd
import pytest

from fb_marketplace.evaluation.query_text import (
    COMMON_WORDS,
    SHORT_QUERY_WORDS,
    content_words,
    shorten_title,
)
from fb_marketplace.pipelines.ranking.synthetic_queries import (
    KINDS,
    SYNONYMS,
    TRAINING_KINDS,
    make_queries,
    paraphrase_title,
    query_kinds,
)
from fb_marketplace_serving.search.tokenizer import terms, words


def market(photos, titles=None, copies=(), sides=None):
    """Products, splits and groups of copies, of photos by listing."""
    sides = sides or {}
    products = pd.DataFrame({"product_id": list(photos), "title": "Oak table"})
    products["title"] = [(titles or {}).get(name, "Oak table") for name in photos]
    rows = [
        (image, product, f"group of {product}", sides.get(product, "test"))
        for product, images in photos.items()
        for image in images or [None]
    ]
    splits = pd.DataFrame(rows, columns=["image_id", "product_id", "group", "split"])
    groups = pd.DataFrame(
        [(image, group[0]) for group in copies for image in group],
        columns=["image_id", "group"],
        dtype="str",
    )
    return products, splits, groups


def asked(*told, split="test", **named):
    return make_queries(*market(*told, **named), split)


def kinds(searches):
    return [search.kind for search in searches]


def test_a_listing_of_two_photos_is_searched_for_in_every_way():
    title, short, paraphrase, photo, both = asked(
        {"p": ["a", "b"]}, {"p": "Large old Oak Table 2m"}
    )

    assert kinds([title, short, paraphrase, photo, both]) == list(KINDS)
    assert title.words == "Large old Oak Table 2m"
    assert short.words == both.words == "large old oak"
    assert paraphrase.words == "desk oak old big"
    assert photo.words == ""
    assert photo.image_id == both.image_id == "a"
    assert photo.hidden == both.hidden == {"a"}
    for search in (title, short, paraphrase):
        assert search.image_id is None
        assert not search.hidden
    assert {search.group for search in (title, photo)} == {"group of p"}


@pytest.mark.parametrize("images", [[], ["a"]])
def test_no_photo_is_asked_of_a_listing_that_has_no_other(images):
    assert kinds(asked({"p": images})) == ["title", "short", "paraphrase"]


def test_copies_of_the_photo_are_hidden_with_it_whosever_they_are():
    photos = {"p": ["a", "b", "c"], "q": ["d"]}

    searches = asked(photos, copies=[("a", "c", "d")])

    assert [search.hidden for search in searches if search.kind == "photo"] == [{"a", "c", "d"}]


def test_a_listing_whose_photos_are_copies_of_one_another_is_not_searched_by_photo():
    assert kinds(asked({"p": ["a", "b"]}, copies=[("a", "b")])) == ["title", "short", "paraphrase"]


def test_copies_of_other_photos_are_not_hidden():
    searches = asked({"p": ["a", "b"], "q": ["c", "d"]}, copies=[("b", "c")])

    hidden = {search.product_id: search.hidden for search in searches if search.kind == "photo"}
    assert hidden == {"p": {"a"}, "q": {"b", "c"}}


def test_there_is_a_paraphrase_only_where_a_word_can_be_said_otherwise():
    searches = asked({"p": [], "q": []}, {"p": "Oak plinth", "q": "Oak sofa"})

    assert [each.product_id for each in searches if each.kind == "paraphrase"] == ["q"]


def test_only_listings_of_the_split_are_searched_for():
    photos = {"p": ["a", "b"], "q": ["c", "d"], "r": []}

    searches = asked(photos, sides={"p": "train", "q": "validation"}, split="validation")

    assert {search.product_id for search in searches} == {"q"}


def test_listings_that_are_not_there_are_not_searched_for():
    products, splits, groups = market({"p": ["a"], "q": ["b"]})

    searches = make_queries(products[products["product_id"] == "q"], splits, groups, "test")

    assert {search.product_id for search in searches} == {"q"}


def test_searches_hang_on_no_order_of_rows():
    photos = {"q": ["c", "d"], "p": ["b", "a"], "r": []}
    products, splits, groups = market(photos, copies=[("a", "c")])

    mixed = (each.sample(frac=1, random_state=0) for each in (products, splits, groups))

    searches = make_queries(products, splits, groups, "test")
    assert make_queries(*mixed, "test") == searches
    listings = [search.product_id for search in searches]
    assert listings == sorted(listings)
    assert {each.image_id for each in searches if each.kind == "photo"} == {"a", "c"}


@pytest.mark.parametrize(
    ("title", "short"),
    [
        ("The large OAK table, with 4 chairs", "large oak table"),
        ("New 2m desk", "desk"),
        ("50 x 100", "x"),
        ("For sale: 2 of 10", "For sale: 2 of 10"),
        ("", ""),
    ],
)
def test_short_is_the_first_words_that_say_something_or_all(title, short):
    assert shorten_title(title) == short
    assert len(content_words(title)[:SHORT_QUERY_WORDS]) <= SHORT_QUERY_WORDS


def test_a_paraphrase_turns_the_order_round():
    assert paraphrase_title("Red sofa for my garden") == "garden couch red"


def test_what_is_said_in_place_of_a_word_is_another_word_to_a_search_by_words():
    for word, other in SYNONYMS.items():
        assert not set(terms(word)) & set(terms(other)), (word, other)


def test_words_that_can_be_said_otherwise_are_no_common_ones():
    assert not COMMON_WORDS & SYNONYMS.keys()
    assert all(words(word) == word.split() for word in (*COMMON_WORDS, *SYNONYMS))


def test_paraphrases_are_never_learned_from():
    assert set(KINDS) - set(TRAINING_KINDS) == {"paraphrase"}


def test_the_kinds_of_searches_are_told_in_their_order():
    searches = asked({"p": ["a", "b"]})

    assert query_kinds(searches).tolist() == kinds(searches)
