"""How good what was chosen is: on validation, where choices were made, and once on test."""

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.confusion_matrix import Classes
from fb_marketplace.evaluation.predictions import Predictions, class_labels, predictions_for_split
from fb_marketplace.parameters.vision import EvaluationParameters
from fb_marketplace.pipelines.vision.evaluation.abstention import evaluate_abstention
from fb_marketplace.pipelines.vision.evaluation.calibration import random_calibration_error
from fb_marketplace.pipelines.vision.evaluation.late_fusion import fuse
from fb_marketplace.pipelines.vision.evaluation.metrics import (
    accuracy_gain,
    by_frequency,
    calibration_error,
    compute_category_metrics,
    top1_accuracy,
)
from fb_marketplace.pipelines.vision.evaluation.per_class import per_class_metrics
from fb_marketplace.schemas.splits import EVALUATION_SPLITS

COLUMNS: Final = {
    "products": "by_photos",
    "products_text": "by_text",
    "products_with_text": "probabilities",
}
"""What listings are judged by: the column of ``product_predictions`` that holds it."""


class Evaluation(NamedTuple):
    """Metrics by split, and a table by category."""

    metrics: dict[str, Any]
    per_class: pd.DataFrame


def evaluate_vision(
    vision_predictions: pd.DataFrame,
    frozen_predictions: pd.DataFrame,
    product_predictions: pd.DataFrame,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    calibration: dict[str, Any],
    fusion: dict[str, Any],
    abstention: dict[str, Any],
    parameters: EvaluationParameters,
) -> Evaluation:
    """Measure by photo, by listing (mean over its photos), and with the text of the listing.

    Args:
        vision_predictions: what the encoder says of each photo.
        frozen_predictions: what a linear layer on the frozen backbone says, the model to beat.
        product_predictions: what photos, text and both say of each listing.
        products: the listings.
        splits: where each belongs.
        calibration: the temperature.
        fusion: how photos and text were weighed.
        abstention: thresholds that validation chose.
        parameters: of bins and bootstrap.

    Returns:
        Metrics: by split and name an estimate, beside what always naming the commonest category
        gives; ``abstention`` by split; and ``choices``. And the table by category.

    Raises:
        UserError: a split has no photo.
        ValueError: the two predictions are not of the same photos.
    """
    if set(vision_predictions["image_id"]) != set(frozen_predictions["image_id"]):
        raise ValueError("the frozen backbone was asked about other photos; pairs need the same")
    labels = class_labels(products)
    shares = np.asarray([fusion["prior"][label] for label in labels])
    frozen_products, _ = fuse(product_predictions, frozen_predictions, labels, shares)
    ranked = _commonest(products, splits, labels)
    metrics: dict[str, Any] = {}
    table: dict[tuple[str, str], Predictions] = {}
    for split in EVALUATION_SPLITS:
        found = _answers(vision_predictions, product_predictions, split, labels)
        frozen = _answers(frozen_predictions, frozen_products, split, labels)
        metrics[split] = (
            _measures(found, ranked, parameters)
            | _gains(found, frozen, parameters)
            | _calibrations(found, calibration["temperature"], parameters)
        )
        metrics[split]["abstention"] = {
            of: evaluate_abstention(found[of], chosen, parameters)
            for of, chosen in abstention.items()
        }
        table |= {(of, split): answers for of, answers in found.items() if len(answers.targets)}
    metrics["choices"] = {
        "temperature": calibration["temperature"],
        "fusion": fusion["weights"],
        "abstention": abstention,
    }
    trivial = {of: int(ranked[of][0]) for of in ranked}
    return Evaluation(metrics, per_class_metrics(table, labels, trivial, parameters))


def _answers(
    photos: pd.DataFrame, listings: pd.DataFrame, split: str, labels: tuple[str, ...]
) -> dict[str, Predictions]:
    by_listing = {
        of: predictions_for_split(listings, split, labels, column) for of, column in COLUMNS.items()
    }
    by_photo = predictions_for_split(photos.sort_values("image_id"), split, labels)
    return {"photos": by_photo} | by_listing


def _measures(
    found: dict[str, Predictions], ranked: dict[str, Classes], parameters: EvaluationParameters
) -> dict[str, Any]:
    return {
        f"{of}_{name}": estimate
        for of, answers in found.items()
        for name, estimate in compute_category_metrics(answers, ranked[of], parameters).items()
    }


def _gains(
    found: dict[str, Predictions], frozen: dict[str, Predictions], parameters: EvaluationParameters
) -> dict[str, Any]:
    """Give what the frozen backbone reaches, and by how much it is beaten on the same cases."""
    gains = {}
    for of in ("photos", "products", "products_with_text"):
        gains[f"{of}_top1_frozen"] = top1_accuracy(frozen[of], parameters)
        gains[f"{of}_top1_gain_over_frozen"] = accuracy_gain(found[of], frozen[of], parameters)
    gains["products_with_text_top1_gain_over_text"] = accuracy_gain(
        found["products_with_text"], found["products_text"], parameters
    )
    return gains


def _calibrations(
    found: dict[str, Predictions], temperature: float, parameters: EvaluationParameters
) -> dict[str, Any]:
    errors = {
        f"{of}_ece": calibration_error(found[of], parameters)
        for of in ("photos", "products", "products_text", "products_with_text")
    }
    before = found["photos"]._replace(
        probabilities=random_calibration_error(found["photos"].probabilities, temperature)
    )
    return errors | {"photos_ece_uncalibrated": calibration_error(before, parameters)}


def _commonest(
    products: pd.DataFrame, splits: pd.DataFrame, labels: tuple[str, ...]
) -> dict[str, Classes]:
    """Rank the categories of the training split, by photos and by listings."""
    training = splits[splits["split"] == "train"].merge(
        products[["product_id", "category"]], on="product_id"
    )
    of_photos = training.loc[training["image_id"].notna(), "category"]
    of_listings = training.drop_duplicates("product_id")["category"]
    by_photo, by_listing = (
        by_frequency(part.to_numpy(dtype=np.str_), labels) for part in (of_photos, of_listings)
    )
    return {"photos": by_photo} | dict.fromkeys(COLUMNS, by_listing)
