"""How good answers are: each measure with its count and interval, beside the trivial answer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.evaluation.bootstrap import mean_by_group, statistic_by_group
from fb_marketplace.evaluation.confusion_matrix import Classes, macro_f1
from fb_marketplace.evaluation.predictions import Predictions
from fb_marketplace.ml.probabilities import log_losses
from fb_marketplace.parameters.vision import EvaluationParameters
from fb_marketplace.pipelines.vision.evaluation.calibration import expected_calibration_error


def compute_category_metrics(
    found: Predictions, commonest: Classes, parameters: EvaluationParameters
) -> dict[str, dict[str, Any]]:
    """Measure answers, and what always naming the commonest categories would give.

    Args:
        found: what was said of a split.
        commonest: categories of the training split, the commonest first.
        parameters: of the bootstrap.

    Returns:
        Estimates of ``top1``, ``top3`` and ``macro_f1``, each also with ``_commonest_category``
        (the three commonest for ``top3``), and of ``log_loss`` in nats.
    """
    told = parameters.bootstrap_samples, parameters.confidence, parameters.seed
    always = np.full(len(found.classes), commonest[0])
    means = {
        "top1": found.right,
        "top1_commonest_category": always == found.classes,
        "top3": top_k_accuracy(found, 3),
        "top3_commonest_category": np.isin(found.classes, commonest[:3]),
        "log_loss": log_losses(found.probabilities, found.classes),
    }
    estimates = {name: mean_by_group(values, found.groups, *told) for name, values in means.items()}
    for name, said in (("macro_f1", found.said), ("macro_f1_commonest_category", always)):
        columns = [found.classes, said]
        estimates[name] = statistic_by_group(macro_f1, columns, found.groups, *told)
    return {name: estimate.plain() for name, estimate in estimates.items()}


def calibration_error(found: Predictions, parameters: EvaluationParameters) -> dict[str, Any]:
    """Measure the expected calibration error of what was said; see :mod:`calibration`."""
    return expected_calibration_error(
        found.confidences,
        found.right,
        found.groups,
        parameters.calibration_bins,
        parameters.bootstrap_samples,
        parameters.confidence,
        parameters.seed,
    )


def top1_accuracy(found: Predictions, parameters: EvaluationParameters) -> dict[str, Any]:
    """Estimate the share that is right."""
    told = parameters.bootstrap_samples, parameters.confidence, parameters.seed
    return mean_by_group(found.right, found.groups, *told).plain()


def accuracy_gain(
    found: Predictions, other: Predictions, parameters: EvaluationParameters
) -> dict[str, Any]:
    """Estimate by how much more of the same cases one is right than another, pair by pair."""
    return mean_by_group(
        found.right.astype(np.float64) - other.right,
        found.groups,
        parameters.bootstrap_samples,
        parameters.confidence,
        parameters.seed,
    ).plain()


def top_k_accuracy(found: Predictions, count: int) -> NDArray[np.bool_]:
    """Say of each case whether the true class is among so many likeliest ones."""
    order = np.argsort(-found.probabilities, axis=1, kind="stable")[:, :count]
    return np.asarray((order == found.classes[:, np.newaxis]).any(axis=1))


def by_frequency(categories: "NDArray[np.str_]", labels: tuple[str, ...]) -> Classes:
    """Give the places of the labels, the commonest of these categories first."""
    counts = [int((categories == label).sum()) for label in labels]
    return np.argsort(-np.asarray(counts), kind="stable").astype(np.int64)
