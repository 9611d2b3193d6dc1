"""Figures: confusion matrices, the reliability diagram and the worst errors of the test split; drift."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.confusion_matrix import plot_confusion_matrix
from fb_marketplace.evaluation.contact_sheet import Cell, contact_sheet
from fb_marketplace.evaluation.plots import new_figure, to_png
from fb_marketplace.evaluation.predictions import class_labels, predictions_for_split
from fb_marketplace.parameters.vision import EvaluationParameters
from fb_marketplace.pipelines.vision.evaluation.calibration import (
    Bin,
    reliability,
    undo_calibration,
)
from fb_marketplace.storage.keyed_table import Table


def plot_photo_confusion(vision_predictions: pd.DataFrame, products: pd.DataFrame) -> bytes:
    """Plot the confusion matrix of photos; returns a PNG."""
    return _plot_confusion(vision_predictions, products, "Category by photo", "photos")


def plot_product_confusion(product_predictions: pd.DataFrame, products: pd.DataFrame) -> bytes:
    """Plot the confusion matrix of listings by photos and text; returns a PNG."""
    return _plot_confusion(product_predictions, products, "Category by photos and text", "listings")


def plot_reliability_diagram(
    vision_predictions: pd.DataFrame,
    products: pd.DataFrame,
    calibration: dict[str, Any],
    parameters: EvaluationParameters,
) -> bytes:
    """Plot the accuracy of photos by confidence, before and after calibration; returns a PNG."""
    after = predictions_for_split(vision_predictions, "test", class_labels(products))
    before = after._replace(
        probabilities=undo_calibration(after.probabilities, calibration["temperature"])
    )
    bins = parameters.calibration_bins
    return plot_reliability(
        *(reliability(cases.confidences, cases.correct, bins) for cases in (before, after))
    )


def plot_reliability(before: Sequence[Bin], after: Sequence[Bin]) -> bytes:
    """Plot accuracy by confidence, before and after calibration; returns a PNG."""
    figure, axes = new_figure(6, 6)
    axes.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--", label="ideal")
    for name, bins, color in (("before", before, "tab:orange"), ("after", after, "tab:blue")):
        points = [part.confidence for part in bins], [part.accuracy for part in bins]
        axes.plot(*points, marker="o", color=color, label=name)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_aspect("equal")
    axes.set_xlabel("mean confidence of a bin")
    axes.set_ylabel("accuracy of the bin")
    cases = sum(part.cases for part in after)
    axes.set_title(f"Reliability before and after calibration: {cases:,} photos")
    axes.legend(loc="upper left")
    return to_png(figure)


def plot_drift(drift_report: dict[str, Any]) -> bytes:
    """Plot the shares of the categories at training time and today; returns a PNG."""
    mix = drift_report["label_mix"]
    figure, axes = new_figure(height=1.5 + 0.4 * len(mix["today"]))
    rows = np.arange(len(mix["today"]))
    for name, offset in (("at_training", 0.2), ("today", -0.2)):
        counts = np.asarray(list(mix[name].values()), dtype=np.float64)
        label = f"{name.replace('_', ' ')}: {counts.sum():,.0f} listings"
        axes.barh(rows + offset, counts / max(counts.sum(), 1), 0.4, label=label)
    axes.set_yticks(rows, list(mix["today"]))
    axes.set_xlabel("share of the listings")
    axes.legend()
    due = "due" if drift_report["retraining_due"] else "not due"
    axes.set_title(
        f"PSI: categories {mix['psi']:.2f}, embeddings "
        f"{drift_report['embeddings']['psi']:.2f}; retraining {due}"
    )
    return to_png(figure)


def plot_mistakes(
    vision_predictions: pd.DataFrame,
    images: Table,
    products: pd.DataFrame,
    parameters: EvaluationParameters,
) -> bytes:
    """Plot the most confident errors with predicted and true category; returns a PNG."""
    labels = class_labels(products)
    predictions = predictions_for_split(vision_predictions, "test", labels)
    ids = vision_predictions.loc[vision_predictions["split"] == "test", "image_id"].to_list()
    errors = np.flatnonzero(~predictions.correct)
    order = np.argsort(-predictions.confidences[errors], kind="stable")
    worst = errors[order][: parameters.num_worst_errors]
    image_ids = images.read(["image_id"]).column("image_id").to_pylist()
    rows = {image_id: row for row, image_id in enumerate(image_ids)}
    photos = images.take([rows[ids[case]] for case in worst], ["jpeg"]).column("jpeg")
    names = short_names(labels)
    cells = [
        Cell(
            jpeg,
            f"{names[predictions.predicted[case]]} {predictions.confidences[case]:.2f}, "
            f"is {names[predictions.targets[case]]}",
        )
        for case, jpeg in zip(worst, photos.to_pylist(), strict=True)
    ]
    title = (
        f"The {len(cells)} most confident of {len(errors):,} errors on {len(ids):,} photos: "
        "predicted category, confidence and true category"
    )
    return contact_sheet(cells, 6, title)


def short_names(labels: Sequence[str]) -> list[str]:
    """Shorten each name to the fewest first words that keep it distinct."""
    words = [label.split() for label in labels]

    def shorten(name: list[str]) -> str:
        for count in range(1, len(name)):
            if sum(other[:count] == name[:count] for other in words) == 1:
                return " ".join(name[:count]).rstrip(",;&")
        return " ".join(name)

    return [shorten(name) for name in words]


def _plot_confusion(table: pd.DataFrame, products: pd.DataFrame, subject: str, cases: str) -> bytes:
    labels = class_labels(products)
    predictions = predictions_for_split(table, "test", labels)
    title = f"{subject}: {len(predictions.targets):,} {cases} of the test split"
    return plot_confusion_matrix(predictions.targets, predictions.predicted, labels, title)
