from types import SimpleNamespace

import numpy as np
import pytest
from support.builders.small_market import count_words, facts, listing

from fb_marketplace.pipelines.ranking.text_to_image_metrics import evaluate_text_to_image
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.search.candidates import SearchIndexes
from fb_marketplace_serving.search.listings.listing_store import ListingStore

COUNT = 24


class Encoder:
    """An encoder with a fixed vector per title."""

    def __init__(self, places):
        self.places = places

    def encode(self, titles):
        return SimpleNamespace(
            text_to_image_embedding=np.stack([self.places[title] for title in titles])
        )


def direction(pos):
    return np.eye(COUNT + 1, dtype=np.float32)[pos]


@pytest.fixture
def gallery():
    """Twenty-four photos, each in a direction of its own: p and q, of Home, have two and one of them.

    r, of Home, has the next nine, s, of Sport, the rest, and t none.
    """
    owners = ["p"] * 2 + ["q"] + ["r"] * 9 + ["s"] * 12
    ids = [f"i{row}" for row in range(COUNT)]
    pictures = Index.build_flat(np.eye(COUNT, COUNT + 1, dtype=np.float32), ids, owners)
    photos = Index.build_flat(np.eye(COUNT, dtype=np.float32)[::-1].copy(), ids, owners)
    names = list("pqrst")
    visible = {name: listing(name, path="Sport" if name == "s" else "Home") for name in names}
    texts = Index.build_flat(np.eye(5, dtype=np.float32), names, names)
    catalogue = ListingStore(photos, visible, facts(names))
    return SimpleNamespace(
        indexes=SearchIndexes(catalogue, photos, pictures, texts, count_words(names))
    )


def test_title_near_its_photo_finds_it(gallery, measuring):
    encoder = Encoder({"a p": direction(1), "a q": direction(2)})
    titles = [("p", "g", "a p"), ("q", "h", "a q")]

    result = evaluate_text_to_image(gallery, encoder, titles, measuring)

    assert result["recall_at_10"]["value"] == 1
    assert result["photos"] == COUNT
    # Of twelve photos of Home ten are drawn.
    chances = [1 - 1 / 66, 10 / 12]
    assert result["in_category"]["value"] == pytest.approx(np.mean(chances), abs=1e-4)
    assert result["times"] == pytest.approx(1 / np.mean(chances), abs=0.01)


def test_title_far_from_its_photo_misses_it(gallery, measuring):
    """s's title is as near to each photo of r's and further from its own; q's is by its own."""
    away = np.zeros(COUNT + 1, np.float32)
    away[:12] = 1 / np.sqrt(12)
    encoder = Encoder({"an s": away, "a q": direction(2)})

    result = evaluate_text_to_image(
        gallery, encoder, [("s", "g", "an s"), ("q", "h", "a q")], measuring
    )

    assert result["recall_at_10"]["value"] == 0.5
    assert result["recall_at_10"]["groups"] == 2


def test_listings_without_photo_are_skipped(gallery, measuring):
    encoder = Encoder({"a q": direction(2)})

    result = evaluate_text_to_image(
        gallery, encoder, [("t", "g", "a t"), ("q", "h", "a q")], measuring
    )

    assert result["recall_at_10"]["cases"] == result["in_category"]["cases"] == 1


def test_titles_without_photos_are_not_evaluated(gallery, measuring):
    result = evaluate_text_to_image(gallery, Encoder({}), [("t", "g", "a t")], measuring)

    assert result == {"photos": len(gallery.indexes.image)}
