"""Macro F1, and the figure of a confusion matrix."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.evaluation.plots import new_figure, to_png

Classes = NDArray[np.int64]


def macro_f1(targets: Classes, predicted: Classes) -> float:
    """Compute the mean F1 of the classes among the targets; a class never predicted has 0.

    Equal to scikit-learn's ``f1_score(average="macro")``, which is a hundred times slower; a bootstrap
    calls it a thousand times.
    """
    classes = int(max(targets.max(), predicted.max())) + 1
    hits = np.bincount(targets[targets == predicted], minlength=classes)
    support, named = (np.bincount(values, minlength=classes) for values in (targets, predicted))
    return float(np.mean(2 * hits[support > 0] / (support + named)[support > 0]))


def plot_confusion_matrix(
    targets: Classes, predicted: Classes, labels: Sequence[str], title: str
) -> bytes:
    """Plot a confusion matrix, shaded by the share of the true category; returns a PNG."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(targets, predicted, labels=range(len(labels)))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 3 + 0.45 * len(labels)
    figure, axes = new_figure(side + 1, side)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    for row, column in np.argwhere(counts):
        shade = "white" if shares[row, column] > 0.5 else "black"
        number = str(counts[row, column])
        axes.text(column, row, number, color=shade, fontsize=8, ha="center", va="center")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    return to_png(figure)
