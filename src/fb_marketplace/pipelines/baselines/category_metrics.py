"""Metrics of category models with confidence intervals, compared with the trivial model."""

from typing import Any

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.bootstrap import Estimate, mean_by_group
from fb_marketplace.evaluation.confusion_matrix import Classes, macro_f1, plot_confusion_matrix
from fb_marketplace.ml.probabilities import log_losses
from fb_marketplace.parameters.baselines import BaselineParameters
from fb_marketplace.pipelines.baselines.category_models import SELECTED, TRIVIAL
from fb_marketplace.pipelines.baselines.predictions import evaluation_splits


def evaluate_categories(
    category_predictions: pd.DataFrame,
    category_text_probabilities: pd.DataFrame,
    category_choices: dict[str, Any],
    parameters: BaselineParameters,
) -> dict[str, Any]:
    """Evaluate every model on the listings of validation and test.

    Args:
        category_predictions: one row per model and listing.
        category_text_probabilities: probabilities of the text model.
        category_choices: labels, and the settings selected on validation.
        parameters: bootstrap settings.

    Returns:
        ``chosen`` and ``trivial``, names of models; ``choices``, the selected settings; and ``models``: an
        estimate by model, split and metric. The text model also has ``log_loss``, in nats, and
        ``overconfidence``, the mean largest probability minus the accuracy.
    """
    labels = category_choices["labels"]
    bootstrap = parameters.bootstrap_samples, parameters.confidence, parameters.seed
    models: dict[str, Any] = {}
    for model, split, part in evaluation_splits(category_predictions):
        truth, predicted = (
            _class_indices(part[name], labels) for name in ("category", "predicted")
        )
        estimates = {
            "top1": mean_by_group(truth == predicted, part["group"], *bootstrap),
            "macro_f1": macro_f1(truth, predicted, part["group"].to_numpy(), *bootstrap),
        }
        if model == SELECTED:
            estimates |= _calibration(part, category_text_probabilities, truth, bootstrap)
        models.setdefault(model, {})[split] = {
            name: estimate.to_dict() for name, estimate in estimates.items()
        }
    return {
        "chosen": SELECTED,
        "trivial": TRIVIAL,
        "choices": category_choices["settings"],
        "models": models,
    }


def plot_text_confusion(
    category_predictions: pd.DataFrame, category_choices: dict[str, Any]
) -> bytes:
    """Plot the confusion matrix of the text model on test, as PNG."""
    labels = category_choices["labels"]
    is_test = category_predictions["split"] == "test"
    rows = category_predictions[is_test & (category_predictions["model"] == SELECTED)]
    truth, predicted = (_class_indices(rows[name], labels) for name in ("category", "predicted"))
    title = f"Category by text: {len(rows):,} listings of the test split"
    return plot_confusion_matrix(truth, predicted, labels, title)


def _class_indices(categories: pd.Series, labels: list[str]) -> Classes:
    indices = {label: index for index, label in enumerate(labels)}
    return np.asarray([indices[category] for category in categories], dtype=np.int64)


def _calibration(
    part: pd.DataFrame,
    probabilities: pd.DataFrame,
    truth: Classes,
    bootstrap: tuple[int, float, int],
) -> dict[str, Estimate]:
    rows = probabilities.set_index("product_id")["probabilities"].loc[part["product_id"]]
    matrix = np.vstack(rows.to_list()).astype(np.float64)
    confidence = matrix.max(axis=1)
    correct = (matrix.argmax(axis=1) == truth).astype(np.float64)
    return {
        "log_loss": mean_by_group(log_losses(matrix, truth), part["group"], *bootstrap),
        "overconfidence": mean_by_group(confidence - correct, part["group"], *bootstrap),
    }
