import numpy as np
import pandas as pd

from fb_marketplace.pipelines.indexing.building import build_index
from fb_marketplace_serving.index import Index

OWNERS = pd.DataFrame({"image_id": ["a", "b", "c"], "product_id": ["p", "q", "p"]})


def test_the_index_holds_every_photo_under_its_name_and_listing(store_angles, told):
    built = build_index(store_angles({"c": 90, "a": 0, "b": 45}), OWNERS, told)

    index = Index.from_bytes(built.vectors, built.ids)
    assert index.image_ids == ("a", "b", "c")
    assert index.product_ids == ("p", "q", "p")
    nearest = index.search(np.float32([0, 1]), 1).rows[0]
    assert index.image_ids[nearest] == "c"


def test_the_card_says_what_was_built(store_angles, told):
    card = build_index(store_angles({"a": 0, "b": 1}), OWNERS, told).card

    assert (card["kind"], card["vectors"], card["dimension"]) == ("flat", 2, 2)
    assert card["bytes_a_vector"] >= 8


def test_the_same_vectors_give_the_same_files(store_angles, told):
    table = store_angles({"a": 0, "b": 1})

    assert build_index(table, OWNERS, told)[:2] == build_index(table, OWNERS, told)[:2]
