"""How good answers are for each category."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.evaluation.bootstrap import Estimate, mean_by_group, statistic_by_group
from fb_marketplace.evaluation.predictions import Predictions
from fb_marketplace.parameters.vision import EvaluationParameters


def per_class_metrics(
    found: Mapping[tuple[str, str], Predictions],
    labels: tuple[str, ...],
    commonest: Mapping[str, int],
    parameters: EvaluationParameters,
) -> pd.DataFrame:
    """Measure precision, recall and F1 of each category.

    Args:
        found: answers by what was asked (``photos``, ...) and split.
        labels: the root categories, sorted.
        commonest: category of the training split that is the commonest, by what was asked.
        parameters: of the bootstrap.

    Returns:
        ``of``, ``split``, ``category``, ``support`` (cases that are of the category), ``said`` (cases
        that were answered so), ``precision``, ``recall`` and ``f1``, each with ``_low`` and ``_high``,
        missing where there is no such case; and ``f1_commonest_category``, F1 of always answering the
        commonest one.
    """
    rows = [
        {"of": of, "split": split, "category": label}
        | _measured(answers, place, parameters)
        | {"f1_commonest_category": _f1_of_always(answers, place, commonest[of])}
        for (of, split), answers in found.items()
        for place, label in enumerate(labels)
    ]
    return pd.DataFrame(rows)


def f1(truth: NDArray[np.bool_], said: NDArray[np.bool_]) -> float:
    """F1 of one category; not defined where it is neither true nor said."""
    cases = int(truth.sum() + said.sum())
    return float(2 * (truth & said).sum() / cases) if cases else float("nan")


def _measured(found: Predictions, place: int, parameters: EvaluationParameters) -> dict[str, Any]:
    told = parameters.bootstrap_samples, parameters.confidence, parameters.seed
    truth, said = found.targets == place, found.predicted == place
    measured: dict[str, Any] = {"support": int(truth.sum()), "said": int(said.sum())}
    for name, among in (("precision", said), ("recall", truth)):
        right = found.correct[among]
        estimate = mean_by_group(right, found.groups[among], *told) if len(right) else None
        measured |= _flat(name, estimate)
    there = bool((truth | said).any())
    of_both = statistic_by_group(f1, [truth, said], found.groups, *told) if there else None
    return measured | _flat("f1", of_both)


def _f1_of_always(found: Predictions, place: int, always: int) -> float:
    truth = found.targets == place
    return round(f1(truth, np.full(len(truth), place == always)), 4)


def _flat(name: str, estimate: Estimate | None) -> dict[str, float]:
    plain = estimate.to_dict() if estimate else dict.fromkeys(("value", "low", "high"), np.nan)
    return {
        name: plain["value"],
        f"{name}_low": plain["low"],
        f"{name}_high": plain["high"],
    }
