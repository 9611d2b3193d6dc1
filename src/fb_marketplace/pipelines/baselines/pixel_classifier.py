"""Logistic regression on thumbnails; the original project's first model."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.compute.parallel import limit_blas_threads
from fb_marketplace.ml.probabilities import softmax
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
from fb_marketplace.storage.keyed_table import Table


def predict_from_pixels(
    products: pd.DataFrame, splits: pd.DataFrame, images: Table, parameters: BaselineParameters
) -> pd.DataFrame:
    """Predict the category of listings from the mean probability over their photos.

    Returns:
        ``category_pixel_predictions``: one row per listing of validation and test that has a photo.

    Raises:
        InsufficientDataError: there are no photos, or those of training are of one category.
    """
    if not len(images):
        raise InsufficientDataError("there are no photos")
    listed = join_splits(products, splits)
    labels = tuple(sorted(set(products["category"])))
    thumbnails = load_thumbnails(images, parameters.category.thumbnail_size)
    rows = pd.DataFrame(
        {"image_id": thumbnails.image_ids, "thumbnail": range(len(thumbnails.image_ids))}
    )
    photos = (
        rows.merge(splits[["image_id", "product_id"]].dropna(), on="image_id", validate="1:1")
        .merge(listed, on="product_id", validate="m:1")
        .sort_values(["product_id", "image_id"], ignore_index=True)
    )
    train = photos[photos["split"] == "train"]
    evaluated = photos[photos["split"].isin(EVALUATION_SPLITS)]
    with limit_blas_threads():
        model = fit_logistic_regression(
            thumbnails.pixels[train["thumbnail"].to_numpy(dtype=np.int64)],
            class_indices(train, labels),
            parameters.category.pixel_C,
        )
        probabilities = _mean_by_listing(model, thumbnails.pixels, evaluated)
    predicted = listed.set_index("product_id").loc[probabilities.index].reset_index()
    classes = model.known[probabilities.to_numpy().argmax(axis=1)]
    return category_predictions(predicted, "pixels", [labels[index] for index in classes])


def _mean_by_listing(
    model: LinearModel, pixels: NDArray[np.float32], photos: pd.DataFrame
) -> pd.DataFrame:
    logits = pixels[photos["thumbnail"].to_numpy(dtype=np.int64)] @ model.weight + model.bias
    probabilities = pd.DataFrame(softmax(logits.astype(np.float64)), index=photos["product_id"])
    return probabilities.groupby(level=0).mean()
