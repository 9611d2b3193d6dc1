import numpy as np
import pytest
from sklearn.metrics import f1_score

from fb_marketplace.evaluation.confusion_matrix import (
    macro_f1,
    plot_confusion_matrix,
)

LABELS = ("Arts", "Home", "Sport")


def test_macro_f1_averages_present_classes():
    truth, predicted = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 1, 1, 0, 0])

    assert macro_f1(truth, predicted) == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert macro_f1(np.array([0, 0]), np.array([0, 2])) == pytest.approx(2 / 3)
    assert macro_f1(np.array([0, 0, 1, 2]), np.array([0, 0, 0, 3])) == pytest.approx(0.8 / 3)


def test_figure_depends_on_the_matrix():
    truth = np.array([0, 0, 1, 2])
    drawn = plot_confusion_matrix(truth, truth, LABELS, "right")

    assert drawn.startswith(b"\x89PNG")
    assert drawn == plot_confusion_matrix(truth, truth, LABELS, "right")
    assert drawn != plot_confusion_matrix(truth, truth[::-1], LABELS, "right")
