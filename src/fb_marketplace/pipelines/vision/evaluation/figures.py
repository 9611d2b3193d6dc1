"""What is taken for what, and how confidence fares: pictures of the test split."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.confusion_matrix import plot_confusion_matrix
from fb_marketplace.evaluation.contact_sheet import Cell, contact_sheet
from fb_marketplace.evaluation.predictions import class_labels, predictions_for_split
from fb_marketplace.parameters.vision import EvaluationParameters
from fb_marketplace.pipelines.vision.evaluation.calibration import (
    plot_reliability,
    random_calibration_error,
    reliability,
)
from fb_marketplace.storage.keyed_table import Table


def plot_photo_confusion(vision_predictions: pd.DataFrame, products: pd.DataFrame) -> bytes:
    """Draw what photos of the test split are taken for; a PNG."""
    labels = class_labels(products)
    found = predictions_for_split(vision_predictions, "test", labels)
    title = f"Category by photo: {len(found.targets):,} photos of the test split"
    return plot_confusion_matrix(found.targets, found.predicted, labels, title)


def plot_product_confusion(product_predictions: pd.DataFrame, products: pd.DataFrame) -> bytes:
    """Draw what listings of the test split are taken for, by their photos and text; a PNG."""
    labels = class_labels(products)
    found = predictions_for_split(product_predictions, "test", labels)
    title = f"Category by photos and text: {len(found.targets):,} listings of the test split"
    return plot_confusion_matrix(found.targets, found.predicted, labels, title)


def plot_reliability_diagram(
    vision_predictions: pd.DataFrame,
    products: pd.DataFrame,
    calibration: dict[str, Any],
    parameters: EvaluationParameters,
) -> bytes:
    """Draw how often photos of the test split are right, by confidence, before and after calibration."""
    found = predictions_for_split(vision_predictions, "test", class_labels(products))
    before = found._replace(
        probabilities=random_calibration_error(found.probabilities, calibration["temperature"])
    )
    return plot_reliability(
        *(
            reliability(each.confidences, each.correct, parameters.calibration_bins)
            for each in (before, found)
        )
    )


def plot_mistakes(
    vision_predictions: pd.DataFrame,
    images: Table,
    products: pd.DataFrame,
    parameters: EvaluationParameters,
) -> bytes:
    """Show the wrong answers on the test split, the surest first, with what they should be; a PNG."""
    labels = class_labels(products)
    found = predictions_for_split(vision_predictions, "test", labels)
    asked = vision_predictions.loc[vision_predictions["split"] == "test", "image_id"].to_list()
    wrong = np.flatnonzero(~found.correct)
    worst = wrong[np.argsort(-found.confidences[wrong], kind="stable")][: parameters.worst_mistakes]
    image_ids = images.read(["image_id"]).column("image_id").to_pylist()
    rows = {image_id: row for row, image_id in enumerate(image_ids)}
    shown = images.take([rows[asked[place]] for place in worst], ["jpeg"]).column("jpeg")
    names = short_names(labels)
    cells = [
        Cell(
            jpeg,
            f"predicted {names[found.predicted[place]]} {found.confidences[place]:.2f}, "
            f"is {names[found.targets[place]]}",
        )
        for place, jpeg in zip(worst, shown.to_pylist(), strict=True)
    ]
    title = f"The {len(cells)} surest of {len(wrong):,} mistakes on {len(asked):,} photos"
    return contact_sheet(cells, 6, title)


def short_names(labels: Sequence[str]) -> list[str]:
    """Cut names to their first words, as many as it takes to tell them apart."""
    words = [label.split() for label in labels]

    def cut(name: list[str]) -> str:
        for count in range(1, len(name)):
            if sum(other[:count] == name[:count] for other in words) == 1:
                return " ".join(name[:count]).rstrip(",;&")
        return " ".join(name)

    return [cut(name) for name in words]
