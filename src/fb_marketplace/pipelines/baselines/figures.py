"""All models beside each other: one table and one picture."""

from typing import Any, Final

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.plots import new_figure, to_png
from fb_marketplace.schemas.splits import EVALUATION_SPLITS

MAX_BARS: Final = {
    "price": ("log_r2", "Price: R² of the logarithm"),
    "category": ("top1", "Category: right, of all listings"),
}
"""The metric that the picture shows of each task."""


def compare_baselines(
    price_metrics: dict[str, Any], category_metrics: dict[str, Any]
) -> pd.DataFrame:
    """Give one row for each task, model, split and metric, with what validation chose marked.

    Returns:
        ``task``, ``model``, ``chosen``, ``split``, ``metric``, ``value``, ``low``, ``high``, ``cases``
        and ``groups``.
    """
    rows = [
        {
            "task": task,
            "model": model,
            "chosen": model == metrics["chosen"],
            "split": split,
            "metric": metric,
            **estimate,
        }
        for task, metrics in (("price", price_metrics), ("category", category_metrics))
        for model, splits in metrics["models"].items()
        for split, found in splits.items()
        for metric, estimate in found.items()
    ]
    return pd.DataFrame(rows)


def plot_comparison(baselines_table: pd.DataFrame) -> bytes:
    """Draw each model's main metric with its interval, validation beside test; a PNG."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(12, 4.2), layout="constrained")
    for axes, (task, (metric, title)) in zip(made.subplots(1, 2), MAX_BARS.items(), strict=True):
        of_task = baselines_table[baselines_table["task"] == task]
        shown = of_task[of_task["metric"] == metric]
        models = list(dict.fromkeys(shown["model"]))
        for split, shift, face in zip(
            EVALUATION_SPLITS, (-0.12, 0.12), ("white", "tab:blue"), strict=True
        ):
            part = shown[shown["split"] == split].set_index("model").reindex(models)
            axes.errorbar(
                part["value"],
                np.arange(len(models)) + shift,
                # A percentile interval need not hold the value itself.
                xerr=np.maximum([part["value"] - part["low"], part["high"] - part["value"]], 0),
                fmt="o",
                color="tab:blue",
                markerfacecolor=face,
                capsize=3,
                label=split,
            )
        chosen = set(shown.loc[shown["chosen"], "model"])
        names = [f"{model} (chosen)" if model in chosen else model for model in models]
        axes.set_yticks(range(len(models)), names)
        axes.invert_yaxis()
        axes.set_xlim(right=1)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(title)
        axes.legend(loc="lower left")
    return to_png(made)


def plot_prices(price_predictions: pd.DataFrame, price_choices: dict[str, Any]) -> bytes:
    """Draw the chosen model's answers against the prices of the test split; a PNG."""
    made, axes = new_figure(7, 6)
    chosen, told = price_choices["model"], price_choices["interval"]
    of_test = price_predictions["split"] == "test"
    shown = price_predictions[of_test & (price_predictions["model"] == chosen)]
    held = shown["price"].between(shown["low"], shown["high"])
    for inside, colour in ((True, "tab:blue"), (False, "tab:red")):
        part = shown[held == inside]
        label = f"{'inside' if inside else 'outside'} the interval: {len(part):,}"
        axes.scatter(part["answered"], part["price"], s=9, alpha=0.6, color=colour, label=label)
    ends = np.asarray([shown["answered"].min(), shown["answered"].max()])
    axes.plot(ends, ends, color="black", linewidth=1)
    axes.fill_between(ends, ends / told["factor"], ends * told["factor"], alpha=0.1, color="black")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("answered")
    axes.set_ylabel("asked by the seller")
    axes.set_title(f"Prices by {chosen}: an interval meant to hold {told['nominal']:.0%}")
    axes.legend(loc="upper left")
    return to_png(made)
