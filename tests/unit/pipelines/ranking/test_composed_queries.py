import numpy as np
import pandas as pd
import pytest

from fb_marketplace.pipelines.ranking.composed_queries import (
    COMPOSED,
    make_composed_queries,
    object_words,
)

CHAIRS, LAMPS = "Home / Chairs", "Home / Lamps"


def market(*rows, copies=()):
    """Products, splits and groups of copies, of (id, title, description, path, photos)."""
    products = pd.DataFrame(
        [row[:4] for row in rows], columns=["product_id", "title", "description", "category_path"]
    )
    splits = pd.DataFrame(
        [
            (image, row[0], f"group of {row[0]}", "test")
            for row in rows
            for image in row[4] or [None]
        ],
        columns=["image_id", "product_id", "group", "split"],
    )
    groups = pd.DataFrame(
        [(image, group[0]) for group in copies for image in group],
        columns=["image_id", "group"],
        dtype="str",
    )
    return products, splits, groups


def queries_from(*rows, copies=(), split="test"):
    return make_composed_queries(*market(*rows, copies=copies), split)


BLUE = ("a", "Blue chair", "comfy", CHAIRS, ["a1", "a2"])
RED = ("b", "Red chair", "comfy", CHAIRS, [])


def test_query_is_a_photo_and_an_attribute_of_another_listing():
    (query,) = queries_from(BLUE, RED, copies=[("a1", "x")])

    assert query.kind == COMPOSED
    assert (query.product_id, query.group) == ("a", "group of a")
    assert (query.words, query.image_id) == ("red", "a1")
    assert query.hidden == {"a1", "x"}


@pytest.mark.parametrize(
    "other",
    [
        ("b", "Red lamp", "", LAMPS, []),
        ("b", "Another chair", "red", CHAIRS, []),
        ("b", "Chair by Ikea", "", CHAIRS, []),
        ("b", "Blue chair", "", CHAIRS, []),
    ],
    ids=["other path", "in the description", "no attribute", "same attribute"],
)
def test_listings_without_another_attribute_give_no_query(other):
    assert queries_from(BLUE, other) == []


def test_attribute_is_not_in_the_description():
    assert queries_from(("a", "Blue chair", "Red cushion", CHAIRS, ["a1"]), RED) == []


def test_attributes_are_compared_by_stem():
    velvets = ("b", "Velvet chair", "", CHAIRS, [])

    assert queries_from(("a", "Chair", "with velvets", CHAIRS, ["a1"]), velvets) == []


def test_listings_of_another_split_give_no_query():
    assert queries_from(BLUE, RED, split="validation") == []


def test_composed_queries_do_not_depend_on_row_order():
    rows = [(f"p{i}", f"{word} chair", "", CHAIRS, [f"{i}"]) for i, word in enumerate(WORDS)]
    tables = market(*rows)

    mixed = (table.sample(frac=1, random_state=1) for table in tables)

    queries = make_composed_queries(*tables, "test")
    assert make_composed_queries(*mixed, "test") == queries
    assert len(queries) == len(WORDS)
    assert len({query.words for query in queries}) > 1


WORDS = ("red", "blue", "oak", "large", "vintage")


def test_object_words_are_neither_common_nor_attributes():
    assert object_words("Large blue velvet chair with 4 legs") == "chair legs"


def test_grades_are_by_path_attribute_and_shared_words(stored_market, market_tables, weighing):
    corpus = stored_market.corpus("test", weighing)
    store = corpus.indexes.listings
    products = market_tables.products.set_index("product_id")
    (query, *_) = make_composed_queries(
        market_tables.products, market_tables.splits, market_tables.duplicate_groups, "test"
    )

    grades = corpus.grades(query)

    assert set(np.unique(grades)) <= {0, 2, 3}
    source = store.position(query.product_id)
    assert grades[source] == 0
    for position in np.flatnonzero(grades):
        title = products.loc[store.product_ids[position]]["title"]
        assert query.words in title.split()
        assert store.path[position] == store.path[source]
