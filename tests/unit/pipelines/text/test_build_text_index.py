import numpy as np
import pandas as pd
import pytest
from support.builders.small_market import unit

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.text.build_text_index import build_text_index, select_text_index
from fb_marketplace_serving.ann.index import Index

NAMES = [f"p{number:02}" for number in range(30)]
EMBEDDINGS = dict(zip(NAMES, unit(np.random.default_rng(0), len(NAMES), 6), strict=True))


@pytest.fixture
def stored(store_text_embeddings):
    mixed = np.random.default_rng(1).permutation(NAMES).tolist()
    return store_text_embeddings({name: EMBEDDINGS[name] for name in mixed})


def build(stored, names, parameters):
    products = pd.DataFrame({"product_id": names})
    return build_text_index(stored, products, select_text_index(stored, parameters), parameters)


def test_rows_are_in_order_of_listings(stored, indexing):
    built = build(stored, NAMES[::-1], indexing)

    index = Index.from_bytes(built.vectors, built.ids)
    assert list(index.image_ids) == list(index.product_ids) == NAMES
    np.testing.assert_array_equal(
        index.vectors(np.arange(len(NAMES))), np.stack(list(EMBEDDINGS.values()))
    )


def test_text_finds_its_own_listing_first(stored, indexing):
    built = build(stored, NAMES, indexing)

    index = Index.from_bytes(built.vectors, built.ids)
    assert [index.search(EMBEDDINGS[name], 1).rows[0] for name in NAMES] == list(range(len(NAMES)))


def test_card_has_count_and_recall(stored, indexing):
    card = build(stored, NAMES, indexing).card

    assert (card["kind"], card["vectors"]) == ("flat", len(NAMES))
    assert card["required_recall"] == indexing.recall


def test_part_size_does_not_change_index(stored, indexing):
    at_once = indexing.model_copy(update={"rows_per_part": 1000})

    one, same = (build(stored, NAMES, output) for output in (indexing, at_once))

    assert one[:2] == same[:2]


@pytest.mark.parametrize("names", [NAMES[1:], [*NAMES, "p99"], [*NAMES[1:], "p99"]])
def test_texts_of_other_listings_are_rejected(stored, indexing, names):
    with pytest.raises(UserError, match=r"\b30\b.*--pipeline="):
        build(stored, names, indexing)
