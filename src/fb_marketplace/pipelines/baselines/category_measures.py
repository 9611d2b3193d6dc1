"""How good categories are: each measure with its interval, for every model, beside the trivial one."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.bootstrap import Estimate, mean_by_group, statistic_by_group
from fb_marketplace.charts import png
from fb_marketplace.parameters import BaselineParameters
from fb_marketplace.pipelines.baselines.answers import parts
from fb_marketplace.pipelines.baselines.categories import CHOSEN, TRIVIAL

Classes = NDArray[np.int64]


def macro_f1(truth: Classes, answered: Classes) -> float:
    """Mean F1 of the classes that are among what is true; a class that no answer names has 0."""
    classes = int(max(truth.max(), answered.max())) + 1
    right = np.bincount(truth[truth == answered], minlength=classes)
    there = np.bincount(truth, minlength=classes)
    named = np.bincount(answered, minlength=classes)
    return float(np.mean(2 * right[there > 0] / (there + named)[there > 0]))


def measure_category(
    category_answers: pd.DataFrame,
    category_text_probabilities: pd.DataFrame,
    category_choices: dict[str, Any],
    parameters: BaselineParameters,
) -> dict[str, Any]:
    """Measure every model on validation and test, over listings.

    Args:
        category_answers: what each model said of each listing.
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
    for model, split, part in parts(category_answers):
        truth, answered = (_places(part[name], labels) for name in ("category", "answered"))
        found = {
            "top1": mean_by_group(truth == answered, part["group"], *told),
            "macro_f1": statistic_by_group(macro_f1, [truth, answered], part["group"], *told),
        }
        if model == CHOSEN:
            found |= _calibration(part, category_text_probabilities, truth, told)
        models.setdefault(model, {})[split] = {
            name: estimate.plain() for name, estimate in found.items()
        }
    return {
        "chosen": CHOSEN,
        "trivial": TRIVIAL,
        "choices": category_choices["settings"],
        "models": models,
    }


def draw_confusion(category_answers: pd.DataFrame, category_choices: dict[str, Any]) -> bytes:
    """Draw what the text model takes for what, on test; a PNG."""
    from matplotlib.figure import Figure

    labels = category_choices["labels"]
    asked = category_answers.query("model == @CHOSEN and split == 'test'")
    counts = confusion(
        _places(asked["category"], labels), _places(asked["answered"], labels), len(labels)
    )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 3 + 0.45 * len(labels)
    made = Figure(figsize=(side + 1, side), layout="constrained")
    axes = made.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    for row, column in np.argwhere(counts):
        shade = "white" if shares[row, column] > 0.5 else "black"
        axes.text(
            column, row, str(counts[row, column]), ha="center", va="center", color=shade, fontsize=8
        )
    axes.set_xlabel("answered")
    axes.set_ylabel("true")
    axes.set_title(f"Category by text: {len(asked):,} listings of the test split")
    return png(made)


def confusion(truth: Classes, answered: Classes, classes: int) -> Classes:
    """Count: int64, (classes, classes), what is true by row, what was answered by column."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (truth, answered), 1)
    return counts


def _places(categories: pd.Series, labels: list[str]) -> Classes:
    places = {label: place for place, label in enumerate(labels)}
    return np.asarray([places[each] for each in categories], dtype=np.int64)


def _calibration(
    part: pd.DataFrame, probabilities: pd.DataFrame, truth: Classes, told: tuple[int, float, int]
) -> dict[str, Estimate]:
    found = probabilities.set_index("product_id")["probabilities"].loc[part["product_id"]]
    said = np.vstack(found.to_list()).astype(np.float64)
    losses = -np.log(said[np.arange(len(truth)), truth])
    sure, right = said.max(axis=1), (said.argmax(axis=1) == truth).astype(np.float64)
    return {
        "log_loss": mean_by_group(losses, part["group"], *told),
        "overconfidence": mean_by_group(sure - right, part["group"], *told),
    }
