"""Evaluation of category predictions on validation, where choices were made, and on test."""

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.confusion_matrix import Classes
from fb_marketplace.evaluation.predictions import Predictions, class_labels, predictions_for_split
from fb_marketplace.parameters.vision import EvaluationParameters
from fb_marketplace.pipelines.vision.evaluation.abstention import evaluate_abstention
from fb_marketplace.pipelines.vision.evaluation.calibration import undo_calibration
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
"""Column of ``product_predictions`` by kind of prediction of a listing."""

BySubject = dict[str, Predictions]
"""Predictions of ``photos`` and of the keys of ``COLUMNS``."""


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
    """Evaluate predictions by photo, by listing (mean over its photos), and by listing with its text.

    Args:
        vision_predictions: predictions of the served encoder by photo.
        frozen_predictions: predictions of the linear baseline on the frozen backbone by photo.
        product_predictions: predictions by listing, from photos, text and both.
        products: the listings.
        splits: group and split of each photo.
        calibration: the temperature.
        fusion: weights of photos and text.
        abstention: thresholds.
        parameters: calibration bins and bootstrap settings.

    Returns:
        The metrics: an estimate by split and name, also for always predicting the most common category;
        ``abstention`` by split; and ``choices``. And the table by category.

    Raises:
        UserError: a split has no photo.
        ValueError: the predictions of the two models cover different photos.
    """
    if set(vision_predictions["image_id"]) != set(frozen_predictions["image_id"]):
        raise ValueError(
            "frozen_predictions and vision_predictions have different photos. Rerun "
            "`kedro run --pipeline=vision`."
        )
    labels = class_labels(products)
    shares = np.asarray([fusion["prior"][label] for label in labels])
    frozen_products, _ = fuse(product_predictions, frozen_predictions, labels, shares)
    ranked = _rank_categories(products, splits, labels)
    metrics: dict[str, Any] = {}
    table: dict[tuple[str, str], Predictions] = {}
    for split in EVALUATION_SPLITS:
        served = _by_subject(vision_predictions, product_predictions, split, labels)
        frozen = _by_subject(frozen_predictions, frozen_products, split, labels)
        metrics[split] = (
            _category_metrics(served, ranked, parameters)
            | _gains(served, frozen, parameters)
            | _calibration_errors(served, calibration["temperature"], parameters)
        )
        metrics[split]["abstention"] = {
            subject: evaluate_abstention(served[subject], selected, parameters)
            for subject, selected in abstention.items()
        }
        table |= {
            (subject, split): cases for subject, cases in served.items() if len(cases.targets)
        }
    metrics["choices"] = {
        "temperature": calibration["temperature"],
        "fusion": fusion["weights"],
        "abstention": abstention,
    }
    most_common = {subject: int(ranked[subject][0]) for subject in ranked}
    return Evaluation(metrics, per_class_metrics(table, labels, most_common, parameters))


def _by_subject(
    photos: pd.DataFrame, listings: pd.DataFrame, split: str, labels: tuple[str, ...]
) -> BySubject:
    by_photo = predictions_for_split(photos.sort_values("image_id"), split, labels)
    return {"photos": by_photo} | {
        subject: predictions_for_split(listings, split, labels, column)
        for subject, column in COLUMNS.items()
    }


def _category_metrics(
    served: BySubject, ranked: dict[str, Classes], parameters: EvaluationParameters
) -> dict[str, Any]:
    return {
        f"{subject}_{name}": estimate
        for subject, cases in served.items()
        for name, estimate in compute_category_metrics(cases, ranked[subject], parameters).items()
    }


def _gains(
    served: BySubject, frozen: BySubject, parameters: EvaluationParameters
) -> dict[str, Any]:
    """Compute the accuracy of the frozen backbone, and the gain over it on the same cases."""
    gains = {}
    for subject in ("photos", "products", "products_with_text"):
        gains[f"{subject}_top1_frozen"] = top1_accuracy(frozen[subject], parameters)
        gains[f"{subject}_top1_gain_over_frozen"] = accuracy_gain(
            served[subject], frozen[subject], parameters
        )
    gains["products_with_text_top1_gain_over_text"] = accuracy_gain(
        served["products_with_text"], served["products_text"], parameters
    )
    return gains


def _calibration_errors(
    served: BySubject, temperature: float, parameters: EvaluationParameters
) -> dict[str, Any]:
    errors = {
        f"{subject}_ece": calibration_error(served[subject], parameters)
        for subject in ("photos", *COLUMNS)
    }
    before = served["photos"]._replace(
        probabilities=undo_calibration(served["photos"].probabilities, temperature)
    )
    return errors | {"photos_ece_uncalibrated": calibration_error(before, parameters)}


def _rank_categories(
    products: pd.DataFrame, splits: pd.DataFrame, labels: tuple[str, ...]
) -> dict[str, Classes]:
    """Rank the categories of the training split by frequency, over photos and over listings."""
    training = splits[splits["split"] == "train"].merge(
        products[["product_id", "category"]], on="product_id"
    )
    of_photos = training.loc[training["image_id"].notna(), "category"]
    of_listings = training.drop_duplicates("product_id")["category"]
    by_photo, by_listing = (
        by_frequency(part.to_numpy(dtype=np.str_), labels) for part in (of_photos, of_listings)
    )
    return {"photos": by_photo} | dict.fromkeys(COLUMNS, by_listing)
