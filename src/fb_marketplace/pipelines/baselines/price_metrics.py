"""Metrics of price models with confidence intervals, compared with the trivial model."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.evaluation.bootstrap import Estimate, mean_by_group, statistic_by_group
from fb_marketplace.parameters.baselines import BaselineParameters
from fb_marketplace.pipelines.baselines.predictions import evaluation_splits
from fb_marketplace.pipelines.baselines.price_models import TRIVIAL

Prices = NDArray[np.float64]


def rmse(truth: Prices, predicted: Prices) -> float:
    """Compute the root mean squared error, in units of the currency."""
    return float(np.sqrt(np.square(truth - predicted).mean()))


def log_r2(truth: Prices, predicted: Prices) -> float:
    """Compute R² of the logarithm of the price; NaN if all prices are equal."""
    logs = np.log(truth)
    spread = np.square(logs - logs.mean()).sum()
    return float(1 - np.square(logs - np.log(predicted)).sum() / spread) if spread else float("nan")


def median_percentage_error(truth: Prices, predicted: Prices) -> float:
    """Compute the median absolute error relative to the true price."""
    return float(np.median(np.abs(predicted - truth) / truth))


def median(values: Prices) -> float:
    """Compute the median."""
    return float(np.median(values))


def evaluate_prices(
    price_predictions: pd.DataFrame, price_choices: dict[str, Any], parameters: BaselineParameters
) -> dict[str, Any]:
    """Evaluate every model on validation and test.

    Args:
        price_predictions: one row per model and listing.
        price_choices: settings selected on validation, and the price range of the RMSE.
        parameters: bootstrap settings and nominal coverage.

    Returns:
        ``chosen`` and ``trivial``, names of models; ``choices``, the selected settings; ``trimmed``, the
        price range of the RMSE; ``interval``, the nominal coverage and the median factor; and ``models``:
        an estimate by model, split and metric.
    """
    low, high = price_choices["trimmed"]
    bootstrap = parameters.bootstrap_samples, parameters.confidence, parameters.seed
    models: dict[str, Any] = {}
    for model, split, part in evaluation_splits(price_predictions):
        columns = [part[name].to_numpy(np.float64) for name in ("price", "predicted")]
        in_range = part["price"].between(low, high).to_numpy()
        estimates = {
            "rmse_trimmed": statistic_by_group(
                rmse, [column[in_range] for column in columns], part["group"][in_range], *bootstrap
            ),
            "log_r2": statistic_by_group(log_r2, columns, part["group"], *bootstrap),
            "median_percentage_error": statistic_by_group(
                median_percentage_error, columns, part["group"], *bootstrap
            ),
        }
        if split == "test" and part["low"].notna().all():
            estimates |= _interval(part, bootstrap)
        models.setdefault(model, {})[split] = {
            name: estimate.to_dict() for name, estimate in estimates.items()
        }
    return {
        "chosen": price_choices["model"],
        "trivial": TRIVIAL,
        "choices": price_choices["settings"],
        "trimmed": {"low": low, "high": high, "quantiles": list(parameters.price.trim)},
        "interval": price_choices["interval"],
        "models": models,
    }


def select_price_model(predictions: dict[str, Prices], truth: Prices) -> str:
    """Return the name of the model with the lowest mean squared error of the log price.

    Args:
        predictions: float64, (listings,), predicted log prices by model.
        truth: float64, (listings,), true log prices.
    """
    errors = {name: np.square(predicted - truth).mean() for name, predicted in predictions.items()}
    return min(errors, key=lambda name: float(errors[name]))


def _interval(part: pd.DataFrame, bootstrap: tuple[int, float, int]) -> dict[str, Estimate]:
    covered = part["price"].between(part["low"], part["high"])
    widths = np.log(part["high"] / part["low"])
    return {
        "interval_coverage": mean_by_group(covered, part["group"], *bootstrap),
        "interval_log_width": statistic_by_group(median, [widths], part["group"], *bootstrap),
    }
