"""Category models: the text model, a bag-of-words model and the trivial model."""

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.compute.threads import limit_blas_threads
from fb_marketplace.evaluation.predictions import class_labels
from fb_marketplace.ml.skops_io import dump_skops, load_skops
from fb_marketplace.parameters.baselines import BaselineParameters
from fb_marketplace.pipelines.baselines.predictions import category_predictions
from fb_marketplace.pipelines.baselines.text_classifier import (
    SentenceModel,
    TextClassifier,
    class_indices,
    fit_logistic_regression,
    predict_text,
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
from fb_marketplace.skipping import Skipped
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace.storage.vectors import VectorTable, read_vectors

TRIVIAL: Final = "most_frequent"
SELECTED: Final = "text"


class TrainedTextClassifier(NamedTuple):
    """The text model as bytes, and the settings selected on validation."""

    model: bytes
    choices: dict[str, Any]


def train_category_model(
    products: pd.DataFrame,
    product_labels: pd.DataFrame,
    splits: pd.DataFrame,
    text_embeddings: Table,
    parameters: BaselineParameters,
) -> TrainedTextClassifier:
    """Train the text model of the root category.

    Args:
        products: the listings.
        product_labels: those whose category is a class.
        splits: group and split of each listing.
        text_embeddings: embeddings of the listings' texts.
        parameters: features, and candidate settings.

    Returns:
        The model in skops format, and the selected settings.
    """
    listed = _join_labelled(products, product_labels, splits)
    labels = class_labels(product_labels)
    vectors = _read_texts(listed, text_embeddings)
    with limit_blas_threads():
        model, settings = select_text_classifier(listed, labels, vectors, parameters)
    choices = settings._asdict() | {"temperature": round(model.temperature, 4)}
    return TrainedTextClassifier(
        dump_text_classifier(model),
        {"model": SELECTED, "labels": list(labels), "settings": choices},
    )


def predict_category_text(
    category_model: FileRef,
    products: pd.DataFrame,
    product_labels: pd.DataFrame,
    splits: pd.DataFrame,
    text_embeddings: Table,
) -> pd.DataFrame:
    """Predict the root category of the labelled listings of validation and test from their text.

    Returns:
        ``product_id``, ``split`` and ``probabilities``, one per label of the model, sorted by id.
    """
    model = load_text_classifier(category_model.read())
    listed = _join_labelled(products, product_labels, splits)
    evaluated = listed[listed["split"].isin(EVALUATION_SPLITS)].reset_index(drop=True)
    vectors = _read_texts(evaluated, text_embeddings)
    with limit_blas_threads():
        probabilities = predict_text(model, evaluated, vectors)
    rows = evaluated[["product_id", "split"]].astype("str")
    return rows.assign(probabilities=list(probabilities))


def predict_categories(
    products: pd.DataFrame,
    product_labels: pd.DataFrame,
    splits: pd.DataFrame,
    category_text_probabilities: pd.DataFrame,
    category_pixel_predictions: pd.DataFrame | Skipped,
    parameters: BaselineParameters,
) -> pd.DataFrame:
    """Predict the listings of validation and test with every model, the trivial one first.

    Returns:
        ``category_predictions``: one row per model and labelled listing. The pixel model covers only
        listings with photos.
    """
    listed = _join_labelled(products, product_labels, splits)
    train, evaluated = (
        listed[listed["split"] == "train"],
        listed[listed["split"].isin(EVALUATION_SPLITS)],
    )
    labels = class_labels(product_labels)
    most_frequent = str(train["category"].mode().iloc[0])
    probabilities = category_text_probabilities.set_index("product_id")["probabilities"]
    text = np.vstack(probabilities.loc[evaluated["product_id"]].to_list()).argmax(axis=1)
    return pd.concat(
        [
            category_predictions(evaluated, TRIVIAL, [most_frequent] * len(evaluated)),
            *(
                []
                if isinstance(category_pixel_predictions, Skipped)
                else [category_pixel_predictions]
            ),
            category_predictions(
                evaluated, "words", _predict_from_words(train, evaluated, labels, parameters)
            ),
            category_predictions(evaluated, SELECTED, [labels[index] for index in text]),
        ],
        ignore_index=True,
    )


def _join_labelled(
    products: pd.DataFrame, product_labels: pd.DataFrame, splits: pd.DataFrame
) -> pd.DataFrame:
    return join_splits(products[products["product_id"].isin(product_labels["product_id"])], splits)


def _read_texts(listed: pd.DataFrame, text_embeddings: Table) -> VectorTable:
    return read_vectors(text_embeddings, "product_id", "embedding", set(listed["product_id"]))


def dump_text_classifier(model: TextClassifier) -> bytes:
    """Return a text classifier in skops format."""
    parts = {"features": pack_text(model.features), "sentences": model.sentences._asdict()}
    return dump_skops(model._asdict() | parts)


def load_text_classifier(data: bytes) -> TextClassifier:
    """Load a text classifier from the bytes of :func:`dump_text_classifier`."""
    parts = load_skops(data)
    sentences = SentenceModel(**parts["sentences"])
    features = unpack_text(parts["features"])
    return TextClassifier(**parts | {"features": features, "sentences": sentences})


def _predict_from_words(
    train: pd.DataFrame,
    evaluated: pd.DataFrame,
    labels: tuple[str, ...],
    parameters: BaselineParameters,
) -> list[str]:
    """Predict with logistic regression on TF-IDF of words."""
    features = plain_words(parameters.text, len(train))
    with limit_blas_threads():
        inputs = fit_text(features, text_table(train))
        model = fit_logistic_regression(
            inputs, class_indices(train, labels), parameters.category.bow_C
        )
        logits = features.transform(text_table(evaluated)) @ model.weight + model.bias
    return [labels[index] for index in model.known[np.asarray(logits).argmax(axis=1)]]
