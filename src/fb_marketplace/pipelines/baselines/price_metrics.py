"""How good prices are: each measure with its interval, for every model, beside the trivial one."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.evaluation.bootstrap import Estimate, mean_by_group, statistic_by_group
from fb_marketplace.parameters.baselines import BaselineParameters
from fb_marketplace.pipelines.baselines.predictions import evaluation_splits
from fb_marketplace.pipelines.baselines.price_models import TRIVIAL

Prices = NDArray[np.float64]


def rmse(truth: Prices, answered: Prices) -> float:
    """Root of the mean squared error, in units of the currency."""
    return float(np.sqrt(np.square(truth - answered).mean()))


def log_r2(truth: Prices, answered: Prices) -> float:
    """Share of the variance of the logarithm that is explained; NaN where all prices are the same."""
    logs = np.log(truth)
    spread = np.square(logs - logs.mean()).sum()
    return float(1 - np.square(logs - np.log(answered)).sum() / spread) if spread else float("nan")


def median_percentage_error(truth: Prices, answered: Prices) -> float:
    """Median of the absolute error as a share of the true price."""
    return float(np.median(np.abs(answered - truth) / truth))


def evaluate_prices(
    price_predictions: pd.DataFrame, price_choices: dict[str, Any], parameters: BaselineParameters
) -> dict[str, Any]:
    """Measure every model on validation and test.

    Args:
        price_predictions: what each model said of each listing.
        price_choices: what validation chose, and between which prices RMSE is taken.
        parameters: of the bootstrap, and the coverage that was asked for.

    Returns:
        ``chosen`` and ``trivial``, names of models; ``choices``; ``trimmed``, the lowest and highest
        price that RMSE is taken of; and ``models``: by model, split and metric an estimate.
    """
    low, high = price_choices["trimmed"]
    told = parameters.bootstrap_samples, parameters.confidence, parameters.seed
    models: dict[str, Any] = {}
    for model, split, part in evaluation_splits(price_predictions):
        columns = [part[name].to_numpy(np.float64) for name in ("price", "answered")]
        kept = part["price"].between(low, high).to_numpy()
        found = {
            "rmse_trimmed": statistic_by_group(
                rmse, [column[kept] for column in columns], part["group"][kept], *told
            ),
            "log_r2": statistic_by_group(log_r2, columns, part["group"], *told),
            "median_percentage_error": statistic_by_group(
                median_percentage_error, columns, part["group"], *told
            ),
        }
        if split == "test" and part["low"].notna().all():
            found |= _interval(part, told)
        models.setdefault(model, {})[split] = {
            name: estimate.to_dict() for name, estimate in found.items()
        }
    return {
        "chosen": price_choices["model"],
        "trivial": TRIVIAL,
        "choices": price_choices["settings"],
        "trimmed": {"low": low, "high": high, "quantiles": list(parameters.price.trim)},
        "interval": price_choices["interval"],
        "models": models,
    }


def select_price_model(answers: dict[str, Prices], truth: Prices) -> str:
    """Give the model that errs least, squared, on the logarithm of validation prices."""
    errors = {name: np.square(found - truth).mean() for name, found in answers.items()}
    return min(errors, key=lambda name: float(errors[name]))


def _interval(part: pd.DataFrame, told: tuple[int, float, int]) -> dict[str, Estimate]:
    held = part["price"].between(part["low"], part["high"])
    return {"interval_coverage": mean_by_group(held, part["group"], *told)}
