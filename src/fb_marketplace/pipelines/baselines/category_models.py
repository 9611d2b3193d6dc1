"""Learns categories from text, and answers beside the trivial and the plain model."""

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.compute.parallel import one_thread
from fb_marketplace.ml.skops_io import dump_skops, load_skops
from fb_marketplace.parameters.baselines import BaselineParameters
from fb_marketplace.pipelines.baselines.predictions import category_answers
from fb_marketplace.pipelines.baselines.text_classifier import (
    Probabilities,
    TextClassifier,
    choose_text_classifier,
    classes_of,
    logistic_regression,
    out_of_fold_text,
    predict_text,
)
from fb_marketplace.pipelines.baselines.text_features import (
    fit_text,
    pack_text,
    plain_words,
    text_table,
    unpack_text,
)
from fb_marketplace.pipelines.baselines.training_frame import with_split
from fb_marketplace.schemas.splits import MEASURED

TRIVIAL: Final = "commonest"
CHOSEN: Final = "text"


class Learned(NamedTuple):
    """The text model as bytes, its probabilities, and what was chosen on validation."""

    model: bytes
    probabilities: pd.DataFrame
    choices: dict[str, Any]


def learn_category(
    products: pd.DataFrame, splits: pd.DataFrame, parameters: BaselineParameters
) -> Learned:
    """Learn the root category from the text of a listing.

    Returns:
        The model, as skops; ``category_text_probabilities``, one row a listing: what the model says on
        validation and test, and on the training split what models say that did not learn from its
        group; and the choices.
    """
    listed = with_split(products, splits)
    labels = tuple(sorted(set(products["category"])))
    train = listed[listed["split"] == "train"]
    measured = listed[listed["split"].isin(MEASURED)]
    with one_thread():
        model, settings = choose_text_classifier(listed, labels, parameters)
        found = [
            _table(train, out_of_fold_text(train, model, settings, parameters)),
            _table(measured, predict_text(model, measured)),
        ]
    probabilities = pd.concat(found).sort_values("product_id", ignore_index=True)
    choices = settings._asdict() | {"temperature": round(model.temperature, 4)}
    return Learned(
        dump_text_classifier(model),
        probabilities,
        {"model": CHOSEN, "labels": list(labels), "settings": choices},
    )


def answer_category(
    products: pd.DataFrame,
    splits: pd.DataFrame,
    category_text_probabilities: pd.DataFrame,
    category_pixel_answers: pd.DataFrame,
    parameters: BaselineParameters,
) -> pd.DataFrame:
    """Let every model answer the listings of validation and test, the trivial one first.

    Returns:
        ``category_answers``: one row a model and listing; of pixels only for listings with photos.
    """
    listed = with_split(products, splits)
    train, measured = listed[listed["split"] == "train"], listed[listed["split"].isin(MEASURED)]
    labels = tuple(sorted(set(products["category"])))
    commonest = str(train["category"].mode().iloc[0])
    said = category_text_probabilities.set_index("product_id")["probabilities"]
    text = np.vstack(said.loc[measured["product_id"]].to_list()).argmax(axis=1)
    return pd.concat(
        [
            category_answers(measured, TRIVIAL, [commonest] * len(measured)),
            category_pixel_answers,
            category_answers(measured, "words", _by_words(train, measured, labels, parameters)),
            category_answers(measured, CHOSEN, [labels[place] for place in text]),
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
    with one_thread():
        seen = fit_text(features, text_table(train))
        model = logistic_regression(
            seen, classes_of(train, labels), parameters.category.words_strength
        )
        logits = features.transform(text_table(measured)) @ model.weight + model.bias
    return [labels[place] for place in model.known[np.asarray(logits).argmax(axis=1)]]


def _table(listed: pd.DataFrame, probabilities: Probabilities) -> pd.DataFrame:
    rows = listed[["product_id", "split"]].astype("str")
    return rows.assign(probabilities=list(probabilities))
