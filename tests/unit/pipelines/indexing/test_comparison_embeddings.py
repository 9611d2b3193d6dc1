import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.indexing.comparison_embeddings import (
    compute_comparison_embeddings,
    embeddings_from_layers,
    embeddings_from_pixels,
    embeddings_from_table,
    embeddings_from_text,
    l2_normalize,
)


def test_vectors_are_unit_length_in_requested_order(store_angles):
    table = store_angles({"a": 0, "b": 90, "c": 180})

    result = embeddings_from_table(table, ["c", "a"], "embedding", "embeddings")

    assert result == pytest.approx(np.asarray([[-1, 0], [1, 0]]), abs=1e-6)


def test_incomplete_table_names_its_pipeline(store_angles):
    with pytest.raises(UserError, match=r"\b1\b.*\b2\b.*--pipeline=vision"):
        embeddings_from_table(store_angles({"a": 0}), ["a", "new"], "embedding", "vision")


def test_lighter_photo_has_the_same_pixel_embedding(store_photos, draw_photo, lighter):
    dark, other = (draw_photo(seed, size=(64, 64), format_="PNG") for seed in (1, 2))
    images = store_photos({"a": dark, "b": lighter(dark), "c": other})

    result = embeddings_from_pixels(images, ["c", "b", "a"], 8)

    assert result[1] @ result[2] > 0.95
    assert result[0] @ result[2] < 0.5


@pytest.fixture
def lighter():
    """Makes a photo a quarter less dark: pixels are drawn towards white."""

    def make(data):
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            buffer = io.BytesIO()
            image.point([64 + level * 3 // 4 for level in range(256)] * 3).save(buffer, "PNG")
        return buffer.getvalue()

    return make


def test_words_have_tf_idf_weights_of_training():
    products = pd.DataFrame(
        {
            "product_id": ["p", "q", "r", "s"],
            "title": ["red chair", "red drum", "chair unheard", "unheard"],
            "description": "",
        }
    )
    splits = pd.DataFrame({"product_id": list("pqrs"), "split": ["train", "train", "test", "test"]})

    result = embeddings_from_text(pd.Series(["r", "p", "q", "s"]), products, splits)

    similarities = (result @ result.T).toarray()
    assert similarities[0, 1] > similarities[1, 2] > 0, "a chair is rarer than what is red"
    assert similarities[0, 2] == 0
    assert result[[3]].nnz == 0


def test_zero_vector_stays_zero():
    result = l2_normalize(np.float32([[0, 0], [3, 4]]))

    assert result == pytest.approx(np.asarray([[0, 0], [0.6, 0.8]]))


def test_all_embeddings_are_of_the_same_photos(
    store_angles, store_features, store_photos, draw_photo, measuring
):
    names = ["a", "b"]
    products = pd.DataFrame({"product_id": ["p"], "title": ["a chair"], "description": [""]})
    splits = pd.DataFrame({"product_id": ["p"], "split": ["train"]})

    embeddings = compute_comparison_embeddings(
        pd.DataFrame({"image_id": names, "product_id": "p"}),
        store_angles({"b": 0, "a": 1}),
        store_features({"b": [1.0, 0, 0], "a": [0, 2.0, 0]}),
        layers([("b", "pool", [3.0, 4.0]), ("a", "pool", [0.0, 1.0])]),
        store_photos({name: draw_photo(seed) for seed, name in enumerate(names)}),
        products,
        splits,
        measuring,
    )
    result = dict(embeddings)

    assert {name: item.shape[0] for name, item in result.items()} == {
        "encoder": 2,
        "frozen_backbone": 2,
        "layer_pool": 2,
        "pixels": 2,
        "words": 2,
    }
    assert result["frozen_backbone"].tolist() == [[0, 1, 0], [1, 0, 0]]
    assert result["layer_pool"] == pytest.approx(np.asarray([[0, 1], [0.6, 0.8]]))


def layers(rows):
    return pd.DataFrame(rows, columns=["image_id", "layer", "embedding"])


def test_incomplete_layer_names_its_pipeline():
    result = layers([("a", "pool", [1.0]), ("b", "pool", [1.0]), ("a", "top", [1.0])])

    with pytest.raises(UserError, match=r"\b1\b.*\b2\b.*--pipeline=vision"):
        list(embeddings_from_layers(result, ["a", "b"]))
