"""Macro F1, and the figure of a confusion matrix."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fb_marketplace.evaluation.bootstrap import Estimate, statistic_of_sums
from fb_marketplace.evaluation.plots import new_figure, to_png

Classes = NDArray[np.int64]


def macro_f1(
    targets: Classes,
    predicted: Classes,
    groups: ArrayLike,
    samples: int,
    confidence: float,
    seed: int,
) -> Estimate:
    """Estimate the mean F1 of the classes among the targets; a class never predicted has 0.

    Equal to scikit-learn's ``f1_score(average="macro")``.

    Args:
        targets: int64, (cases,), the true class.
        predicted: int64, (cases,), the predicted class.
        groups: (cases,), the group of each case.
        samples: number of bootstrap samples.
        confidence: share of the samples inside the interval.
        seed: seed of the draws.

    Raises:
        InsufficientDataError: there are no cases.
    """

    def mean_f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        hits, support, named = np.split(sums, 3, axis=1)
        scores = 2 * hits / np.maximum(support + named, 1)
        means: NDArray[np.float64] = scores.mean(axis=1, where=support > 0)
        return means

    classes = np.arange(1 + max(targets.max(initial=0), predicted.max(initial=0)))
    is_target, is_predicted = (values[:, np.newaxis] == classes for values in (targets, predicted))
    columns = np.hstack([is_target & is_predicted, is_target, is_predicted])
    return statistic_of_sums(mean_f1, columns, groups, samples, confidence, seed)


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
