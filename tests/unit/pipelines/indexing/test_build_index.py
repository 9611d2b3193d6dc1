import numpy as np
import pandas as pd
import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.indexing.build_index import build_image_index, select_image_index
from fb_marketplace_serving.ann.faiss_index import KINDS
from fb_marketplace_serving.ann.index import Index


def built(table, owners, parameters):
    return build_image_index(table, owners, select_image_index(table, parameters), parameters)


OWNERS = pd.DataFrame({"image_id": ["a", "b", "c"], "product_id": ["p", "q", "p"]})


@pytest.fixture
def many(store_angles):
    """A table of photos all round a circle, and who owns them."""
    names = [f"{place:03}" for place in range(300)]
    shuffled = np.random.default_rng(0).permutation(300)
    owners = pd.DataFrame({"image_id": names, "product_id": "p"})
    return store_angles({names[place]: 1.1 * place for place in shuffled}), owners


def test_index_contains_each_photo_with_its_listing(store_angles, parameters):
    index_files = built(store_angles({"c": 90, "a": 0, "b": 45}), OWNERS, parameters)

    index = Index.from_bytes(index_files.vectors, index_files.ids)
    assert index.image_ids == ("a", "b", "c")
    assert index.product_ids == ("p", "q", "p")
    nearest = index.search(np.float32([0, 1]), 1).rows[0]
    assert index.image_ids[nearest] == "c"


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_contains_photos_in_row_order(many, parameters, kind):
    table, owners = many
    index_files = built(table, owners, parameters.model_copy(update={"kind": kind}))

    index = Index.from_bytes(index_files.vectors, index_files.ids)
    assert index.kind == kind
    for place in range(0, 300, 17):
        angle = np.radians(1.1 * place)
        nearest = index.search(np.float32([np.cos(angle), np.sin(angle)]), 1).rows[0]
        assert index.image_ids[nearest] == f"{place:03}"


def test_card_has_kind_and_recall(store_angles, parameters):
    card = built(store_angles({"a": 0, "b": 1, "c": 2}), OWNERS, parameters).card

    assert (card["kind"], card["vectors"], card["dimension"]) == ("flat", 3, 2)
    assert (card["required_recall"], card["recall_at_10"]) == (parameters.recall, 1)
    assert card["bytes_per_vector"] >= 8
    assert 0 < card["p50_ms"] <= card["p99_ms"]
    assert card["vectors_at_selection"] == 3


@pytest.mark.parametrize("kind", KINDS)
def test_index_files_do_not_depend_on_parts(many, parameters, kind):
    once, again, by_parts = (
        built(*many, parameters.model_copy(update={"kind": kind, "rows_per_part": rows}))
        for rows in (1000, 1000, 70)
    )

    assert once[:2] == again[:2] == by_parts[:2]


def test_missing_embeddings_are_rejected(store_angles, parameters):
    with pytest.raises(UserError, match="kedro run --pipeline=embeddings"):
        select_image_index(store_angles({}), parameters)


def test_photos_without_listing_are_rejected(store_angles, parameters):
    embedded = store_angles({"a": 0, "gone": 1, "lost": 2})

    with pytest.raises(UserError, match=r"\b2\b.*\bgone\b.*--pipeline=embeddings"):
        built(embedded, OWNERS, parameters)
