"""Comparison of all baselines: one table and the figures."""

from typing import Any, Final

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.plots import new_figure, to_png
from fb_marketplace.schemas.splits import EVALUATION_SPLITS
from fb_marketplace.skipping import InsufficientDataError, Skipped

MAIN_METRICS: Final = {
    "price": ("log_r2", "Price: R² of the logarithm"),
    "category": ("top1", "Category: accuracy over all listings"),
}
"""Metric and title of the figure by task."""


def compare_baselines(
    price_metrics: dict[str, Any] | Skipped, category_metrics: dict[str, Any] | Skipped
) -> pd.DataFrame:
    """Return one row per task, model, split and metric; ``chosen`` marks the model selected on validation.

    Returns:
        ``task``, ``model``, ``chosen``, ``split``, ``metric``, ``value``, ``low``, ``high``, ``cases``
        and ``groups``.
    """
    tasks = {"price": price_metrics, "category": category_metrics}
    rows = [
        {
            "task": task,
            "model": model,
            "chosen": model == metrics["chosen"],
            "split": split,
            "metric": metric,
            **estimate,
        }
        for task, metrics in tasks.items()
        if not isinstance(metrics, Skipped)
        for model, splits in metrics["models"].items()
        for split, estimates in splits.items()
        for metric, estimate in estimates.items()
    ]
    if not rows:
        raise InsufficientDataError("there is no baseline")
    return pd.DataFrame(rows)


def plot_comparison(baselines_table: pd.DataFrame) -> bytes:
    """Plot each model's main metric with its interval on validation and test, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.2), layout="constrained")
    tasks = {
        task: main for task, main in MAIN_METRICS.items() if task in set(baselines_table["task"])
    }
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for axes, (task, (metric, title)) in zip(panels, tasks.items(), strict=True):
        task_rows = baselines_table[baselines_table["task"] == task]
        rows = task_rows[task_rows["metric"] == metric]
        models = list(dict.fromkeys(rows["model"]))
        for split, shift, face in zip(
            EVALUATION_SPLITS, (-0.12, 0.12), ("white", "tab:blue"), strict=True
        ):
            part = rows[rows["split"] == split].set_index("model").reindex(models)
            axes.errorbar(
                part["value"],
                np.arange(len(models)) + shift,
                # A percentile interval may not contain the value itself.
                xerr=np.maximum([part["value"] - part["low"], part["high"] - part["value"]], 0),
                fmt="o",
                color="tab:blue",
                markerfacecolor=face,
                capsize=3,
                label=split,
            )
        chosen = set(rows.loc[rows["chosen"], "model"])
        names = [f"{model} (chosen)" if model in chosen else model for model in models]
        axes.set_yticks(range(len(models)), names)
        axes.invert_yaxis()
        axes.set_xlim(right=1)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(title)
        axes.legend(loc="lower left")
    return to_png(figure)


def plot_prices(price_predictions: pd.DataFrame, price_choices: dict[str, Any]) -> bytes:
    """Plot the selected model's predictions against the prices of the test split, as PNG."""
    figure, axes = new_figure(7, 6)
    chosen, interval = price_choices["model"], price_choices["interval"]
    is_test = price_predictions["split"] == "test"
    rows = price_predictions[is_test & (price_predictions["model"] == chosen)]
    covered = rows["price"].between(rows["low"], rows["high"])
    for inside, color in ((True, "tab:blue"), (False, "tab:red")):
        part = rows[covered == inside]
        label = f"{'inside' if inside else 'outside'} the interval: {len(part):,}"
        axes.scatter(part["predicted"], part["price"], s=9, alpha=0.6, color=color, label=label)
    axes.vlines(rows["predicted"], rows["low"], rows["high"], color="black", alpha=0.06)
    ends = [rows["predicted"].min(), rows["predicted"].max()]
    axes.plot(ends, ends, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("predicted")
    axes.set_ylabel("price in the listing")
    axes.set_title(f"Prices by {chosen}: interval with nominal coverage {interval['nominal']:.0%}")
    axes.legend(loc="upper left")
    return to_png(figure)
