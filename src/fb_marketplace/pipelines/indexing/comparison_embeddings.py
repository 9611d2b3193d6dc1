"""What photos are told apart by: the encoder's embedding, and what it has to beat."""

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.errors import UserError
from fb_marketplace.ml.thumbnails import load_thumbnails
from fb_marketplace.parameters.indexing import RetrievalParameters
from fb_marketplace.pipelines.indexing.exact_ranking import Vectors
from fb_marketplace.storage.keyed_table import Table

ENCODER: Final = "encoder"
FROZEN: Final = "frozen_backbone"
PIXELS: Final = "pixels"
WORDS: Final = "words"

LISTING_LEVEL: Final = frozenset((WORDS,))
"""What is the same for all photos of a listing: that one finds the other by it shows nothing."""


def compute_comparison_embeddings(
    photos: pd.DataFrame,
    image_embeddings: Table,
    vision_features: Table,
    layer_embeddings: pd.DataFrame,
    images: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: RetrievalParameters,
) -> dict[str, Vectors]:
    """Give the vectors of photos by name, in the order of the photos; another embedding is one more entry.

    Args:
        photos: ``image_id`` and ``product_id``.
        image_embeddings: what is served.
        vision_features: the pooled features of the same backbone, frozen.
        layer_embeddings: by other layers of the trained network; each is named ``layer_`` and its name.
        images: the canonical photos.
        products: the listings.
        splits: where each belongs.
        parameters: the side of small pixels.

    Raises:
        UserError: a table lacks photos.
    """
    wanted = photos["image_id"].to_list()
    return {
        ENCODER: embeddings_from_table(image_embeddings, wanted, "embedding", "embeddings"),
        FROZEN: embeddings_from_table(vision_features, wanted, "features", "vision"),
        **embeddings_from_layers(layer_embeddings, wanted),
        PIXELS: embeddings_from_pixels(images, wanted, parameters.thumbnail_size),
        WORDS: embeddings_from_text(photos["product_id"], products, splits),
    }


def embeddings_from_table(
    table: Table, image_ids: list[str], column: str, made_by: str
) -> NDArray[np.float32]:
    """Read the vectors of photos from a table, at length one.

    Raises:
        UserError: it lacks some of them.
    """
    held = table.read(["image_id"]).column("image_id").to_pylist()
    rows = {image_id: row for row, image_id in enumerate(held)}
    lacking = sum(image_id not in rows for image_id in image_ids)
    if lacking:
        raise UserError(
            f"{table.url} lacks {lacking:,} of the {len(image_ids):,} photos that are asked for: it is of "
            f"other photos than the splits; `kedro run --pipeline={made_by}` makes it anew"
        )
    return l2_normalize(table.vectors([rows[image_id] for image_id in image_ids], column))


def embeddings_from_layers(
    layer_embeddings: pd.DataFrame, image_ids: list[str]
) -> dict[str, NDArray[np.float32]]:
    """Give the vectors of photos by each layer.

    Raises:
        UserError: a layer lacks some of the photos.
    """
    found = {}
    for layer, rows in layer_embeddings.groupby("layer", sort=False):
        vectors = rows.set_index("image_id")["embedding"].reindex(image_ids)
        if lacking := int(vectors.isna().sum()):
            raise UserError(
                f"layer_embeddings lacks {lacking:,} of the {len(image_ids):,} photos that are asked for: "
                "it is of other photos than the splits; `kedro run --pipeline=vision` makes it anew"
            )
        found[f"layer_{layer}"] = l2_normalize(np.stack(vectors.to_list()))
    return found


def embeddings_from_pixels(images: Table, image_ids: list[str], side: int) -> NDArray[np.float32]:
    """Read photos as small pixels, each around its own mean, so that a cosine is their correlation."""
    small = load_thumbnails(images, side, frozenset(image_ids))
    places = {image_id: place for place, image_id in enumerate(small.image_ids)}
    pixels = small.pixels[[places[image_id] for image_id in image_ids]]
    return l2_normalize(pixels - pixels.mean(axis=1, keepdims=True))


def embeddings_from_text(
    product_ids: "pd.Series[Any]", products: pd.DataFrame, splits: pd.DataFrame
) -> Vectors:
    """Give TF-IDF of title and description of each photo's listing, learned on the training split.

    Returns:
        A sparse array, float32, (photos, words).
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(sublinear_tf=True, dtype=np.float32)
    text = (
        products.set_index("product_id")[["title", "description"]].fillna("").agg("\n".join, axis=1)
    )
    training = set(splits.loc[splits["split"] == "train", "product_id"])
    words.fit(text[text.index.isin(training)])
    return words.transform(text.loc[product_ids.to_numpy()])


def l2_normalize(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows to length one; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled = vectors / np.where(lengths > 0, lengths, 1)
    return scaled.astype(np.float32, copy=False)
