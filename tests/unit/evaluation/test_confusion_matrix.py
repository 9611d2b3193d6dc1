import numpy as np
import pytest
from sklearn.metrics import f1_score

from fb_marketplace.evaluation.bootstrap import statistic_by_group
from fb_marketplace.evaluation.confusion_matrix import (
    macro_f1,
    plot_confusion_matrix,
)

LABELS = ("Arts", "Home", "Sport")


def f1_of(truth, predicted):
    return macro_f1(np.array(truth), np.array(predicted), np.arange(len(truth)), 10, 0.95, 0).value


def test_macro_f1_averages_present_classes():
    truth, predicted = [0, 0, 1, 1, 1, 2], [0, 1, 1, 1, 0, 0]

    assert f1_of(truth, predicted) == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert f1_of([0, 0], [0, 2]) == pytest.approx(2 / 3)
    assert f1_of([0, 0, 1, 2], [0, 0, 0, 3]) == pytest.approx(0.8 / 3)


def test_macro_f1_resamples_groups():
    random = np.random.default_rng(0)
    truth, groups = random.integers(0, 3, 90), random.integers(0, 30, 90)
    predicted = np.where(random.random(90) < 0.7, truth, random.integers(0, 3, 90))

    def scored(*columns):
        return f1_score(*columns, average="macro")

    expected = statistic_by_group(scored, [truth, predicted], groups, 40, 0.9, 1)
    assert macro_f1(truth, predicted, groups, 40, 0.9, 1) == pytest.approx(expected)


def test_figure_depends_on_the_matrix():
    truth = np.array([0, 0, 1, 2])
    drawn = plot_confusion_matrix(truth, truth, LABELS, "right")

    assert drawn.startswith(b"\x89PNG")
    assert drawn == plot_confusion_matrix(truth, truth, LABELS, "right")
    assert drawn != plot_confusion_matrix(truth, truth[::-1], LABELS, "right")
