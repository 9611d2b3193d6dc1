"""Learns categories from text, and answers beside the trivial and the plain model."""

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.compute.parallel import limit_blas_threads
from fb_marketplace.ml.skops_io import dump_skops, load_skops
from fb_marketplace.parameters.baselines import BaselineParameters
from fb_marketplace.pipelines.baselines.predictions import category_predictions
from fb_marketplace.pipelines.baselines.text_classifier import (
    Probabilities,
    TextClassifier,
    class_indices,
    fit_logistic_regression,
    predict_text,
    predict_text_out_of_fold,
    select_text_classifier,
)
from fb_marketplace.pipelines.baselines.text_features import (
    fit_text,
    pack_text,
    plain_words,
    text_table,
    unpack_text,
)
from fb_marketplace.pipelines.baselines.training_frame import join_splits
from fb_marketplace.schemas.splits import EVALUATION_SPLITS

TRIVIAL: Final = "commonest"
SELECTED: Final = "text"


class TrainedTextClassifier(NamedTuple):
    """The text model as bytes, its probabilities, and what was chosen on validation."""

    model: bytes
    probabilities: pd.DataFrame
    choices: dict[str, Any]


def train_category_model(
    products: pd.DataFrame, splits: pd.DataFrame, parameters: BaselineParameters
) -> TrainedTextClassifier:
    """Learn the root category from the text of a listing.

    Returns:
        The model, as skops; ``category_text_probabilities``, one row a listing: what the model says on
        validation and test, and on the training split what models say that did not learn from its
        group; and the choices.
    """
    listed = join_splits(products, splits)
    labels = tuple(sorted(set(products["category"])))
    train = listed[listed["split"] == "train"]
    measured = listed[listed["split"].isin(EVALUATION_SPLITS)]
    with limit_blas_threads():
        model, settings = select_text_classifier(listed, labels, parameters)
        found = [
            _table(train, predict_text_out_of_fold(train, model, settings, parameters)),
            _table(measured, predict_text(model, measured)),
        ]
    probabilities = pd.concat(found).sort_values("product_id", ignore_index=True)
    choices = settings._asdict() | {"temperature": round(model.temperature, 4)}
    return TrainedTextClassifier(
        dump_text_classifier(model),
        probabilities,
        {"model": SELECTED, "labels": list(labels), "settings": choices},
    )


def predict_categories(
    products: pd.DataFrame,
    splits: pd.DataFrame,
    category_text_probabilities: pd.DataFrame,
    category_pixel_predictions: pd.DataFrame,
    parameters: BaselineParameters,
) -> pd.DataFrame:
    """Let every model answer the listings of validation and test, the trivial one first.

    Returns:
        ``category_predictions``: one row a model and listing; of pixels only for listings with photos.
    """
    listed = join_splits(products, splits)
    train, measured = (
        listed[listed["split"] == "train"],
        listed[listed["split"].isin(EVALUATION_SPLITS)],
    )
    labels = tuple(sorted(set(products["category"])))
    commonest = str(train["category"].mode().iloc[0])
    said = category_text_probabilities.set_index("product_id")["probabilities"]
    text = np.vstack(said.loc[measured["product_id"]].to_list()).argmax(axis=1)
    return pd.concat(
        [
            category_predictions(measured, TRIVIAL, [commonest] * len(measured)),
            category_pixel_predictions,
            category_predictions(measured, "words", _by_words(train, measured, labels, parameters)),
            category_predictions(measured, SELECTED, [labels[place] for place in text]),
        ],
        ignore_index=True,
    )


def dump_text_classifier(model: TextClassifier) -> bytes:
    """Write a text classifier as skops."""
    return dump_skops(model._asdict() | {"features": pack_text(model.features)})


def load_text_classifier(data: bytes) -> TextClassifier:
    """Read what :func:`dump_text_classifier` wrote."""
    found = load_skops(data)
    return TextClassifier(**found | {"features": unpack_text(found["features"])})


def _by_words(
    train: pd.DataFrame,
    measured: pd.DataFrame,
    labels: tuple[str, ...],
    parameters: BaselineParameters,
) -> list[str]:
    """Answer by plain logistic regression on TF-IDF of words."""
    features = plain_words(parameters.text, len(train))
    with limit_blas_threads():
        seen = fit_text(features, text_table(train))
        model = fit_logistic_regression(
            seen, class_indices(train, labels), parameters.category.words_strength
        )
        logits = features.transform(text_table(measured)) @ model.weight + model.bias
    return [labels[place] for place in model.known[np.asarray(logits).argmax(axis=1)]]


def _table(listed: pd.DataFrame, probabilities: Probabilities) -> pd.DataFrame:
    rows = listed[["product_id", "split"]].astype("str")
    return rows.assign(probabilities=list(probabilities))
