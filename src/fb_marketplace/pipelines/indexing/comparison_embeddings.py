"""Embeddings that the evaluation compares: the encoder's and the baselines."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.errors import UserError
from fb_marketplace.ml.thumbnails import load_thumbnails
from fb_marketplace.parameters.indexing import RetrievalParameters
from fb_marketplace.pipelines.indexing.exact_ranking import Vectors
from fb_marketplace.skipping import Skipped
from fb_marketplace.storage.keyed_table import Table

ENCODER: Final = "encoder"
FROZEN: Final = "frozen_backbone"
PIXELS: Final = "pixels"
WORDS: Final = "words"

LISTING_LEVEL: Final = frozenset((WORDS,))
"""Embeddings that all photos of a listing share. Retrieval of another photo of the listing is trivial."""


def compute_comparison_embeddings(
    photos: pd.DataFrame,
    image_embeddings: Table,
    vision_features: Table,
    layer_embeddings: pd.DataFrame | Skipped,
    images: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: RetrievalParameters,
) -> Iterator[tuple[str, Vectors]]:
    """Compute all embeddings of photos, one after the other.

    Args:
        photos: ``image_id`` and ``product_id``.
        image_embeddings: the served embeddings.
        vision_features: pooled features of the frozen backbone.
        layer_embeddings: embeddings from other layers of the trained network.
        images: the canonical photos.
        products: the listings.
        splits: split of each photo.
        parameters: the thumbnail size.

    Yields:
        A name and its vectors, in the order of the photos. The names of other layers have the prefix
        ``layer_``.

    Raises:
        UserError: a table lacks some of the photos.
    """
    image_ids = photos["image_id"].to_list()
    yield ENCODER, embeddings_from_table(image_embeddings, image_ids, "embedding", "embeddings")
    yield FROZEN, embeddings_from_table(vision_features, image_ids, "features", "vision")
    if not isinstance(layer_embeddings, Skipped):
        yield from embeddings_from_layers(layer_embeddings, image_ids)
    yield PIXELS, embeddings_from_pixels(images, image_ids, parameters.thumbnail_size)
    yield WORDS, embeddings_from_text(photos["product_id"], products, splits)


def embeddings_from_table(
    table: Table, image_ids: list[str], column: str, pipeline: str
) -> NDArray[np.float32]:
    """Read the vectors of photos from a table, scaled to unit length.

    Args:
        table: the table.
        image_ids: the photos.
        column: column of the vectors.
        pipeline: the pipeline that writes the table, for the error message.

    Returns:
        float32, (photos, dimension).

    Raises:
        UserError: the table lacks some of the photos.
    """
    ids = table.read(["image_id"]).column("image_id").to_pylist()
    row_of = {image_id: row for row, image_id in enumerate(ids)}
    missing = sum(image_id not in row_of for image_id in image_ids)
    if missing:
        raise UserError(
            f"{table.url} is missing {missing:,} of {len(image_ids):,} photos in the splits. Rerun "
            f"`kedro run --pipeline={pipeline}`."
        )
    return l2_normalize(table.vectors([row_of[image_id] for image_id in image_ids], column))


def embeddings_from_layers(
    layer_embeddings: pd.DataFrame, image_ids: list[str]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the vectors of photos by layer, scaled to unit length.

    Yields:
        The name of a layer with the prefix ``layer_``, and float32, (photos, dimension).

    Raises:
        UserError: a layer lacks some of the photos.
    """
    for layer, rows in layer_embeddings.groupby("layer", sort=False):
        vectors = rows.set_index("image_id")["embedding"].reindex(image_ids)
        if missing := int(vectors.isna().sum()):
            raise UserError(
                f"layer_embeddings is missing {missing:,} of {len(image_ids):,} photos in the splits. "
                "Rerun `kedro run --pipeline=vision`."
            )
        yield f"layer_{layer}", l2_normalize(np.stack(vectors.to_list()))


def embeddings_from_pixels(images: Table, image_ids: list[str], side: int) -> NDArray[np.float32]:
    """Return thumbnails as vectors: float32, (photos, pixels), scaled to unit length.

    Each vector is centered on its mean, so that a cosine is a correlation.
    """
    thumbnails = load_thumbnails(images, side, frozenset(image_ids))
    row_of = {image_id: row for row, image_id in enumerate(thumbnails.image_ids)}
    pixels = thumbnails.pixels[[row_of[image_id] for image_id in image_ids]]
    return l2_normalize(pixels - pixels.mean(axis=1, keepdims=True))


def embeddings_from_text(
    product_ids: "pd.Series[Any]", products: pd.DataFrame, splits: pd.DataFrame
) -> Vectors:
    """Compute TF-IDF of title and description of each photo's listing, fitted on the training split.

    Returns:
        A sparse array: float32, (photos, words).
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, dtype=np.float32)
    text = (
        products.set_index("product_id")[["title", "description"]].fillna("").agg("\n".join, axis=1)
    )
    training = set(splits.loc[splits["split"] == "train", "product_id"])
    vectorizer.fit(text[text.index.isin(training)])
    return vectorizer.transform(text.loc[product_ids.to_numpy()])


def l2_normalize(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rows scaled to unit length: float32, (n, dimension). A row of zeros stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled = vectors / np.where(lengths > 0, lengths, 1)
    return scaled.astype(np.float32, copy=False)
