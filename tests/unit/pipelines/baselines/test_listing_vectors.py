import numpy as np
import pandas as pd
import pytest

from fb_marketplace.pipelines.baselines import listing_vectors
from fb_marketplace.pipelines.baselines.listing_vectors import (
    center,
    read_listing_vectors,
    subtract_and_normalize,
)
from fb_marketplace.skipping import Skipped

IDS = ["b", "a", "none"]
SPLITS = pd.DataFrame({"product_id": ["a", "a", "b", "none"], "image_id": ["a1", "a2", "b1", None]})


@pytest.fixture
def texts(store_text_embeddings):
    return store_text_embeddings({name: [float(row), 1.0] for row, name in enumerate(IDS)})


def test_photos_of_a_listing_are_averaged_in_the_order_of_ids(texts, store_features, monkeypatch):
    monkeypatch.setattr(listing_vectors, "LISTINGS_PER_READ", 1)
    photos = store_features({"b1": [8.0, 8.0], "a2": [2.0, 4.0], "a1": [0.0, 2.0]})

    by_text, by_photos = read_listing_vectors(IDS, SPLITS, texts, photos).select(["a", "b", "none"])

    assert by_text.tolist() == [[1, 1], [0, 1], [2, 1]]
    assert by_photos.tolist() == [[1, 3], [8, 8], [0, 0]]


def test_market_without_photos_has_text_vectors_only(texts):
    by_text, by_photos = read_listing_vectors(IDS, SPLITS, texts, Skipped("no photos")).select(IDS)

    assert by_text.shape == (3, 2)
    assert by_photos.shape == (3, 0)


def test_zero_vectors_are_not_centered():
    vectors = np.array([[1, 0], [3, 0], [0, 0]], np.float32)

    mean = center(vectors)

    assert mean.tolist() == [2, 0]
    assert subtract_and_normalize(vectors, mean).tolist() == [[-1, 0], [1, 0], [0, 0]]
