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


def queries_from(*values, split="test", **named):
    return make_queries(*market(*values, **named), split)


def kinds(searches):
    return [search.kind for search in searches]


def test_listing_with_two_photos_has_every_kind_of_query():
    title, short, paraphrase, photo, both = queries_from(
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
def test_single_photo_listing_has_no_photo_query(images):
    assert kinds(queries_from({"p": images})) == ["title", "short", "paraphrase"]


def test_copies_of_query_photo_are_hidden():
    photos = {"p": ["a", "b", "c"], "q": ["d"]}

    searches = queries_from(photos, copies=[("a", "c", "d")])

    assert [search.hidden for search in searches if search.kind == "photo"] == [{"a", "c", "d"}]


def test_listing_of_duplicate_photos_has_no_photo_query():
    assert kinds(queries_from({"p": ["a", "b"]}, copies=[("a", "b")])) == [
        "title",
        "short",
        "paraphrase",
    ]


def test_copies_of_other_photos_are_not_hidden():
    searches = queries_from({"p": ["a", "b"], "q": ["c", "d"]}, copies=[("b", "c")])

    hidden = {search.product_id: search.hidden for search in searches if search.kind == "photo"}
    assert hidden == {"p": {"a"}, "q": {"b", "c"}}


def test_paraphrase_requires_a_synonym():
    searches = queries_from({"p": [], "q": []}, {"p": "Oak plinth", "q": "Oak sofa"})

    assert [item.product_id for item in searches if item.kind == "paraphrase"] == ["q"]


def test_queries_are_of_listings_in_the_split():
    photos = {"p": ["a", "b"], "q": ["c", "d"], "r": []}

    searches = queries_from(photos, sides={"p": "train", "q": "validation"}, split="validation")

    assert {search.product_id for search in searches} == {"q"}


def test_missing_listings_have_no_queries():
    products, splits, groups = market({"p": ["a"], "q": ["b"]})

    searches = make_queries(products[products["product_id"] == "q"], splits, groups, "test")

    assert {search.product_id for search in searches} == {"q"}


def test_queries_do_not_depend_on_row_order():
    photos = {"q": ["c", "d"], "p": ["b", "a"], "r": []}
    products, splits, groups = market(photos, copies=[("a", "c")])

    mixed = (item.sample(frac=1, random_state=0) for item in (products, splits, groups))

    searches = make_queries(products, splits, groups, "test")
    assert make_queries(*mixed, "test") == searches
    listings = [search.product_id for search in searches]
    assert listings == sorted(listings)
    assert {item.image_id for item in searches if item.kind == "photo"} == {"a", "c"}


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
def test_short_query_has_first_content_words(title, short):
    assert shorten_title(title) == short
    assert len(content_words(title)[:SHORT_QUERY_WORDS]) <= SHORT_QUERY_WORDS


def test_paraphrase_reverses_word_order():
    assert paraphrase_title("Red sofa for my garden") == "garden couch red"


def test_synonym_has_another_stem():
    for word, other in SYNONYMS.items():
        assert not set(terms(word)) & set(terms(other)), (word, other)


def test_words_with_synonyms_are_not_common():
    assert not COMMON_WORDS & SYNONYMS.keys()
    assert all(words(word) == word.split() for word in (*COMMON_WORDS, *SYNONYMS))


def test_paraphrases_are_not_used_for_training():
    assert set(KINDS) - set(TRAINING_KINDS) == {"paraphrase"}


def test_query_kinds_are_in_order():
    searches = queries_from({"p": ["a", "b"]})

    assert query_kinds(searches).tolist() == kinds(searches)
