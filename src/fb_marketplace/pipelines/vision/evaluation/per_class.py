"""Precision, recall and F1 of each category."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.evaluation.bootstrap import Estimate, mean_by_group, ratio_by_group
from fb_marketplace.evaluation.predictions import Predictions
from fb_marketplace.parameters.vision import EvaluationParameters


def per_class_metrics(
    predictions: Mapping[tuple[str, str], Predictions],
    labels: tuple[str, ...],
    most_common: Mapping[str, int],
    parameters: EvaluationParameters,
) -> pd.DataFrame:
    """Compute the metrics of each category.

    Args:
        predictions: predictions by subject (``photos``, ...) and split.
        labels: the root categories, sorted.
        most_common: index of the most common category of the training split, by subject.
        parameters: bootstrap settings.

    Returns:
        ``subject``, ``split``, ``category``, ``support`` (cases of the category), ``predicted`` (cases
        predicted as it), ``precision``, ``recall`` and ``f1``, each with ``_low`` and ``_high``, missing
        if there is no such case; and ``f1_most_frequent_category``, F1 of always predicting the most common
        one.
    """
    rows = [
        {"subject": subject, "split": split, "category": label}
        | _class_metrics(cases, index, parameters)
        | {"f1_most_frequent_category": _constant_f1(cases, index, most_common[subject])}
        for (subject, split), cases in predictions.items()
        for index, label in enumerate(labels)
    ]
    return pd.DataFrame(rows)


def f1(targets: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    """Compute F1 of one category; NaN if it is neither a target nor predicted."""
    cases = int(targets.sum() + predicted.sum())
    return float(2 * (targets & predicted).sum() / cases) if cases else float("nan")


def _class_metrics(
    cases: Predictions, index: int, parameters: EvaluationParameters
) -> dict[str, Any]:
    targets, predicted = cases.targets == index, cases.predicted == index
    metrics: dict[str, Any] = {"support": int(targets.sum()), "predicted": int(predicted.sum())}
    for name, mask in (("precision", predicted), ("recall", targets)):
        estimate = None
        if mask.any():
            estimate = mean_by_group(cases.correct[mask], cases.groups[mask], *parameters.bootstrap)
        metrics |= _to_columns(name, estimate)
    estimate = None
    if (targets | predicted).any():
        hits, either = 2 * (targets & predicted), targets.astype(np.int64) + predicted
        estimate = ratio_by_group(hits, either, cases.groups, *parameters.bootstrap)
    return metrics | _to_columns("f1", estimate)


def _constant_f1(cases: Predictions, index: int, constant: int) -> float:
    targets = cases.targets == index
    return round(f1(targets, np.full(len(targets), index == constant)), 4)


def _to_columns(name: str, estimate: Estimate | None) -> dict[str, float]:
    values = estimate.to_dict() if estimate else dict.fromkeys(("value", "low", "high"), np.nan)
    return {name: values["value"], f"{name}_low": values["low"], f"{name}_high": values["high"]}
