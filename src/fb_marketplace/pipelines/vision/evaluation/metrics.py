"""Category metrics with intervals, compared with the most common category."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.evaluation.bootstrap import mean_by_group
from fb_marketplace.evaluation.confusion_matrix import Classes, macro_f1
from fb_marketplace.evaluation.predictions import Predictions
from fb_marketplace.ml.probabilities import log_losses
from fb_marketplace.parameters.vision import EvaluationParameters
from fb_marketplace.pipelines.vision.evaluation.calibration import expected_calibration_error


def compute_category_metrics(
    predictions: Predictions, most_common: Classes, parameters: EvaluationParameters
) -> dict[str, dict[str, Any]]:
    """Compute the metrics of predictions and of always predicting the most common categories.

    Args:
        predictions: predictions of a split.
        most_common: int64, (labels,), categories, the most common of the training split first.
        parameters: bootstrap settings.

    Returns:
        Estimates of ``top1``, ``top3`` and ``macro_f1``, each also with ``_most_frequent_category``
        (the three most common for ``top3``), and of ``log_loss`` in nats.
    """
    targets, groups = predictions.targets, predictions.groups
    constant = np.full(len(targets), most_common[0])
    means = {
        "top1": predictions.correct,
        "top1_most_frequent_category": constant == targets,
        "top3": top_k_accuracy(predictions, 3),
        "top3_most_frequent_category": np.isin(targets, most_common[:3]),
        "log_loss": log_losses(predictions.probabilities, targets),
    }
    labels = {"macro_f1": predictions.predicted, "macro_f1_most_frequent_category": constant}
    estimates = {
        name: mean_by_group(values, groups, *parameters.bootstrap) for name, values in means.items()
    } | {
        name: macro_f1(targets, predicted, groups, *parameters.bootstrap)
        for name, predicted in labels.items()
    }
    return {name: estimate.to_dict() for name, estimate in estimates.items()}


def calibration_error(predictions: Predictions, parameters: EvaluationParameters) -> dict[str, Any]:
    """Compute the expected calibration error; see :mod:`calibration`."""
    return expected_calibration_error(
        predictions.confidences,
        predictions.correct,
        predictions.groups,
        parameters.calibration_bins,
        *parameters.bootstrap,
    )


def top1_accuracy(predictions: Predictions, parameters: EvaluationParameters) -> dict[str, Any]:
    """Estimate the accuracy."""
    return mean_by_group(predictions.correct, predictions.groups, *parameters.bootstrap).to_dict()


def accuracy_gain(
    predictions: Predictions, other: Predictions, parameters: EvaluationParameters
) -> dict[str, Any]:
    """Estimate the accuracy minus that of other predictions of the same cases."""
    difference = predictions.correct.astype(np.float64) - other.correct
    return mean_by_group(difference, predictions.groups, *parameters.bootstrap).to_dict()


def top_k_accuracy(predictions: Predictions, k: int) -> NDArray[np.bool_]:
    """Return whether the true class is among the k most probable ones: (cases,)."""
    order = np.argsort(-predictions.probabilities, axis=1, kind="stable")[:, :k]
    return np.asarray((order == predictions.targets[:, np.newaxis]).any(axis=1))


def by_frequency(categories: "NDArray[np.str_]", labels: tuple[str, ...]) -> Classes:
    """Return the indices of the labels, the most common of these categories first."""
    counts = [int((categories == label).sum()) for label in labels]
    return np.argsort(-np.asarray(counts), kind="stable").astype(np.int64)
