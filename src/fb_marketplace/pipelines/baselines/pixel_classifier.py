"""Logistic regression on thumbnails; the original project's first model."""

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.compute.threads import limit_blas_threads
from fb_marketplace.evaluation.predictions import class_labels
from fb_marketplace.evaluation.sampling import sample_rows
from fb_marketplace.ml.probabilities import softmax
from fb_marketplace.ml.skops_io import dump_skops, load_skops
from fb_marketplace.ml.thumbnails import load_thumbnails
from fb_marketplace.parameters.baselines import BaselineParameters
from fb_marketplace.pipelines.baselines.predictions import category_predictions
from fb_marketplace.pipelines.baselines.text_classifier import (
    LinearModel,
    class_indices,
    fit_logistic_regression,
)
from fb_marketplace.pipelines.baselines.training_frame import join_splits
from fb_marketplace.schemas.splits import EVALUATION_SPLITS
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table

PHOTOS_PER_BATCH: Final = 20_000
"""Number of photos whose thumbnails are in memory at a time, 12 kB each."""


def train_pixel_model(
    products: pd.DataFrame, splits: pd.DataFrame, images: Table, parameters: BaselineParameters
) -> bytes:
    """Train the pixel model of the root category.

    Returns:
        The model in skops format.

    Raises:
        InsufficientDataError: there are no photos, or those of training are of one category.
    """
    if not len(images):
        raise InsufficientDataError("there are no photos")
    labels = class_labels(products)
    category = parameters.category
    photos = _photos(images, join_splits(products, splits), splits)
    train = photos[photos["split"] == "train"]
    train = train.iloc[
        sample_rows(train["image_id"].to_list(), category.max_pixel_photos, parameters.seed)
    ]
    with limit_blas_threads():
        model = fit_logistic_regression(
            _pixels(images, train, category.thumbnail_size),
            class_indices(train, labels),
            category.pixel_C,
        )
    return dump_skops(model._asdict() | {"labels": labels})


def predict_from_pixels(
    pixel_model: FileRef,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    images: Table,
    parameters: BaselineParameters,
) -> pd.DataFrame:
    """Predict the category of listings from the mean probability over their photos.

    Returns:
        ``category_pixel_predictions``: one row per listing of validation and test that has a photo.
    """
    parts = load_skops(pixel_model.read())
    labels = parts.pop("labels")
    model = LinearModel(**parts)
    listed = join_splits(products, splits)
    photos = _photos(images, listed, splits)
    evaluated = photos[photos["split"].isin(EVALUATION_SPLITS)]
    with limit_blas_threads():
        probabilities = _mean_by_listing(
            model, images, evaluated, parameters.category.thumbnail_size
        )
    predicted = listed.set_index("product_id").loc[probabilities.index].reset_index()
    classes = model.known[probabilities.to_numpy().argmax(axis=1)]
    return category_predictions(predicted, "pixels", [labels[index] for index in classes])


def _photos(images: Table, listed: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    return (
        pd.DataFrame({"image_id": images.read(["image_id"]).column("image_id").to_pylist()})
        .merge(splits[["image_id", "product_id"]].dropna(), on="image_id", validate="1:1")
        .merge(listed, on="product_id", validate="m:1")
        .sort_values(["product_id", "image_id"], ignore_index=True)
    )


def _pixels(images: Table, photos: pd.DataFrame, side: int) -> NDArray[np.float32]:
    """Return the thumbnails of photos: float32, (photos, side · side · 3)."""
    thumbnails = load_thumbnails(images, side, frozenset(photos["image_id"]))
    row_of = {image_id: row for row, image_id in enumerate(thumbnails.image_ids)}
    return thumbnails.pixels[[row_of[image_id] for image_id in photos["image_id"]]]


def _mean_by_listing(
    model: LinearModel, images: Table, photos: pd.DataFrame, side: int
) -> pd.DataFrame:
    parts = [
        _pixels(images, photos.iloc[start : start + PHOTOS_PER_BATCH], side) @ model.weight
        + model.bias
        for start in range(0, len(photos), PHOTOS_PER_BATCH)
    ]
    logits = np.concatenate([np.empty((0, len(model.bias)), np.float32), *parts])
    probabilities = pd.DataFrame(softmax(logits.astype(np.float64)), index=photos["product_id"])
    return probabilities.groupby(level=0).mean()
