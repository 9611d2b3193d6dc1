"""What is taken for what: counts, their picture, and macro F1."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.evaluation.plots import new_figure, to_png

Classes = NDArray[np.int64]


def macro_f1(truth: Classes, said: Classes) -> float:
    """Mean F1 of the classes that are among what is true; one that is never said has 0."""
    classes = int(max(truth.max(), said.max())) + 1
    right = np.bincount(truth[truth == said], minlength=classes)
    there, named = (np.bincount(each, minlength=classes) for each in (truth, said))
    return float(np.mean(2 * right[there > 0] / (there + named)[there > 0]))


def confusion_matrix(truth: Classes, said: Classes, labels: int) -> Classes:
    """Count: int64, (labels, labels), what is true by row, what was said by column."""
    counts = np.zeros((labels, labels), dtype=np.int64)
    np.add.at(counts, (truth, said), 1)
    return counts


def plot_confusion_matrix(
    truth: Classes, said: Classes, labels: Sequence[str], title: str
) -> bytes:
    """Draw counts, shaded by the share of the true category; a PNG."""
    counts = confusion_matrix(truth, said, len(labels))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 3 + 0.45 * len(labels)
    made, axes = new_figure(side + 1, side)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    for row, column in np.argwhere(counts):
        shade = "white" if shares[row, column] > 0.5 else "black"
        number = str(counts[row, column])
        axes.text(column, row, number, color=shade, fontsize=8, ha="center", va="center")
    axes.set_xlabel("said")
    axes.set_ylabel("true")
    axes.set_title(title)
    return to_png(made)
