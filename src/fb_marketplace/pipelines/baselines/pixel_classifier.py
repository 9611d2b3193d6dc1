"""Categories from small pixels by logistic regression: what the original began with."""

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
from fb_marketplace.storage.keyed_table import Table


def predict_from_pixels(
    products: pd.DataFrame, splits: pd.DataFrame, images: Table, parameters: BaselineParameters
) -> pd.DataFrame:
    """Answer the category of listings with photos: the mean of what is said of each of their photos.

    Returns:
        ``category_pixel_predictions``: one row a listing of validation and test that has a photo.
    """
    listed = join_splits(products, splits)
    labels = tuple(sorted(set(products["category"])))
    small = load_thumbnails(images, parameters.category.pixels_side)
    places = pd.DataFrame({"image_id": small.image_ids, "place": range(len(small.image_ids))})
    shown = (
        places.merge(splits[["image_id", "product_id"]].dropna(), on="image_id", validate="1:1")
        .merge(listed, on="product_id", validate="m:1")
        .sort_values(["product_id", "image_id"], ignore_index=True)
    )
    train, asked = shown[shown["split"] == "train"], shown[shown["split"].isin(EVALUATION_SPLITS)]
    with limit_blas_threads():
        model = fit_logistic_regression(
            small.pixels[train["place"].to_numpy(dtype=np.int64)],
            class_indices(train, labels),
            parameters.category.pixels_strength,
        )
        said = _by_listing(model, small.pixels, asked)
    answered = listed.set_index("product_id").loc[said.index].reset_index()
    chosen = [labels[place] for place in model.known[said.to_numpy().argmax(axis=1)]]
    return category_predictions(answered, "pixels", chosen)


def _by_listing(
    model: LinearModel, pixels: NDArray[np.float32], asked: pd.DataFrame
) -> pd.DataFrame:
    logits = pixels[asked["place"].to_numpy(dtype=np.int64)] @ model.weight + model.bias
    said = pd.DataFrame(softmax(logits.astype(np.float64)), index=asked["product_id"])
    return said.groupby(level=0).mean()
