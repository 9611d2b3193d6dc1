"""Sentence and photo vectors of listings."""

from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.skipping import Skipped
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace.storage.vectors import VectorTable, read_vectors

Vectors = NDArray[np.float32]

LISTINGS_PER_READ: Final = 2000


class ListingVectors(NamedTuple):
    """Vectors of listings.

    Attributes:
        texts: embeddings of the texts, by listing.
        photos: mean features of the listing's photos; zeros if it has none.
    """

    texts: VectorTable
    photos: VectorTable

    def select(self, product_ids: list[str]) -> tuple[Vectors, Vectors]:
        """Return the vectors of texts and photos, each float32, (len(product_ids), dimension)."""
        return self.texts.select(product_ids), self.photos.select(product_ids)


def read_listing_vectors(
    product_ids: list[str],
    splits: pd.DataFrame,
    text_embeddings: Table,
    vision_features: Table | Skipped,
) -> ListingVectors:
    """Read the vectors of these listings.

    Args:
        product_ids: the listings.
        splits: listing of each photo.
        text_embeddings: embeddings of the listings' texts.
        vision_features: features of photos. Without photos, their vectors have no dimensions.
    """
    texts = read_vectors(text_embeddings, "product_id", "embedding", set(product_ids))
    if isinstance(vision_features, Skipped):
        empty = np.zeros((len(product_ids), 0), np.float32)
        return ListingVectors(texts, VectorTable(tuple(product_ids), empty))
    order = vision_features.order("image_id")
    names = vision_features.read(["image_id"]).column("image_id").to_numpy()[order]
    photos = splits[splits["product_id"].isin(product_ids)]
    photos = photos.merge(pd.DataFrame({"image_id": names, "row": order}), on="image_id")
    photos = photos.sort_values(["product_id", "image_id"])
    dimension = vision_features.vectors(order[:1].tolist(), "features").shape[1]
    means = np.zeros((len(product_ids), dimension), np.float32)
    positions = pd.Series(np.arange(len(product_ids)), index=product_ids)
    listings = photos["product_id"].unique()
    for start in range(0, len(listings), LISTINGS_PER_READ):
        part = photos[photos["product_id"].isin(listings[start : start + LISTINGS_PER_READ])]
        features = vision_features.vectors(part["row"].tolist(), "features")
        grouped = pd.DataFrame(features).groupby(part["product_id"].to_numpy()).mean()
        means[positions[grouped.index]] = grouped
    return ListingVectors(texts, VectorTable(tuple(product_ids), means))


def center(vectors: Vectors) -> Vectors:
    """Return the mean of the vectors that are not zero: float32, (dimension,)."""
    known = vectors[vectors.any(axis=1)]
    return known.mean(axis=0) if len(known) else np.zeros(vectors.shape[1], np.float32)


def subtract_and_normalize(vectors: Vectors, mean: Vectors) -> Vectors:
    """Subtract a mean and scale to unit length; zero vectors stay zero."""
    shifted = np.where(vectors.any(axis=1, keepdims=True), vectors - mean, 0)
    norms = np.linalg.norm(shifted, axis=1, keepdims=True)
    result: Vectors = (shifted / np.maximum(norms, np.float32(1e-9))).astype(np.float32)
    return result
