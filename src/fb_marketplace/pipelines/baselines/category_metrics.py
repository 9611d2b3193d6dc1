"""How good categories are: each measure with its interval, for every model, beside the trivial one."""

from typing import Any

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.bootstrap import Estimate, mean_by_group, statistic_by_group
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
    """Measure every model on validation and test, over listings.

    Args:
        category_predictions: what each model said of each listing.
        category_text_probabilities: of the text model.
        category_choices: what validation chose, and the labels.
        parameters: of the bootstrap.

    Returns:
        ``chosen`` and ``trivial``, names of models; ``choices``; and ``models``: by model, split and
        metric an estimate; of the text model also ``log_loss``, in nats, and ``overconfidence``, by how
        much the mean of the largest probabilities exceeds the share of right answers.
    """
    labels = category_choices["labels"]
    told = parameters.bootstrap_samples, parameters.confidence, parameters.seed
    models: dict[str, Any] = {}
    for model, split, part in evaluation_splits(category_predictions):
        truth, answered = (_places(part[name], labels) for name in ("category", "answered"))
        found = {
            "top1": mean_by_group(truth == answered, part["group"], *told),
            "macro_f1": statistic_by_group(macro_f1, [truth, answered], part["group"], *told),
        }
        if model == SELECTED:
            found |= _calibration(part, category_text_probabilities, truth, told)
        models.setdefault(model, {})[split] = {
            name: estimate.to_dict() for name, estimate in found.items()
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
    """Draw what the text model takes for what, on test; a PNG."""
    labels = category_choices["labels"]
    of_test = category_predictions["split"] == "test"
    asked = category_predictions[of_test & (category_predictions["model"] == SELECTED)]
    truth, answered = (_places(asked[name], labels) for name in ("category", "answered"))
    title = f"Category by text: {len(asked):,} listings of the test split"
    return plot_confusion_matrix(truth, answered, labels, title)


def _places(categories: pd.Series, labels: list[str]) -> Classes:
    places = {label: place for place, label in enumerate(labels)}
    return np.asarray([places[each] for each in categories], dtype=np.int64)


def _calibration(
    part: pd.DataFrame, probabilities: pd.DataFrame, truth: Classes, told: tuple[int, float, int]
) -> dict[str, Estimate]:
    found = probabilities.set_index("product_id")["probabilities"].loc[part["product_id"]]
    said = np.vstack(found.to_list()).astype(np.float64)
    sure, right = said.max(axis=1), (said.argmax(axis=1) == truth).astype(np.float64)
    return {
        "log_loss": mean_by_group(log_losses(said, truth), part["group"], *told),
        "overconfidence": mean_by_group(sure - right, part["group"], *told),
    }
