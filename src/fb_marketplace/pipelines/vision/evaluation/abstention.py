"""Abstention: a confidence threshold with a guaranteed error rate, and conformal prediction sets.

Both guarantees are for one case drawn from each group, as cases of a group are not independent. They take
the model as given, but epoch, temperature and fusion weights were chosen on the same validation listings,
so they are somewhat optimistic.
"""

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from fb_marketplace.evaluation.bootstrap import mean_by_group
from fb_marketplace.evaluation.predictions import Predictions, class_labels, predictions_for_split
from fb_marketplace.parameters.vision import EvaluationParameters

ASSURANCE: Final = 0.9
"""Probability over validation splits that a threshold keeps its guarantee."""

FIRST_SHARE: Final = 0.25
"""The first test covers this share of the cases, the most confident ones."""


def select_abstention(
    vision_predictions: pd.DataFrame,
    product_predictions: pd.DataFrame,
    products: pd.DataFrame,
    parameters: EvaluationParameters,
) -> dict[str, Any]:
    """Select thresholds and prediction sets on validation, for photos and for listings with text.

    Returns:
        For ``photos`` and ``products_with_text``: ``threshold``, the confidence above which a prediction
        is answered; ``error``, the guaranteed error rate of answered cases, one per group; ``assurance``,
        the probability of this guarantee; ``set_above``, the minimum probability of a category in the
        prediction set, which misses the true one in at most ``error`` of the cases; and ``groups``, the
        number of groups.
    """
    labels = class_labels(products)
    tables = {"photos": vision_predictions, "products_with_text": product_predictions}
    return {
        name: _select(
            predictions_for_split(table, "validation", labels),
            getattr(parameters.max_error_when_answering, name),
            parameters.seed,
        )
        for name, table in tables.items()
    }


def select_threshold(confidences: ArrayLike, correct: ArrayLike, error: float) -> float:
    """Return the lowest threshold with a guaranteed error rate above it.

    Learn then Test (Angelopoulos, Bates, Candès, Jordan & Lei, 2021) for selective classification:
    cases are added from the most confident one, and the hypothesis "the error rate above this confidence
    is over ``error``" is tested each time by an exact binomial tail, in fixed sequence, until it is not
    rejected. For any model, with probability ``ASSURANCE`` over the cases, the error rate above the
    threshold is at most ``error``. This holds for any number of independent cases, if errors do not become
    rarer as the threshold falls. (Conformal risk control does not apply: it needs a loss that is monotone
    in the threshold, but the error rate of answered cases may not be.)

    Args:
        confidences: (cases,), of independent cases: one per group.
        correct: (cases,), whether the prediction is correct.
        error: the rate to guarantee.

    Returns:
        The threshold; 1, which no confidence exceeds, if there is none. An error rate of 0.05 needs at
        least 45 cases.
    """
    from scipy.stats import binom

    order = np.argsort(-np.asarray(confidences, dtype=np.float64), kind="stable")
    descending = np.asarray(confidences, dtype=np.float64)[order]
    errors = np.cumsum(~np.asarray(correct, dtype=bool)[order])
    min_cases = int(np.ceil(np.log(1 - ASSURANCE) / np.log(1 - error)))
    following = np.append(descending[1:], 0.0)
    threshold = 1.0
    for last in range(max(min_cases, int(FIRST_SHARE * len(order))) - 1, len(order)):
        if following[last] == descending[last]:  # no threshold separates the two
            continue
        if binom.cdf(errors[last], last + 1, error) > 1 - ASSURANCE:
            break
        threshold = float(following[last])
    return threshold


def select_set_level(
    probabilities: NDArray[np.float64], targets: NDArray[np.int64], error: float
) -> float:
    """Return the minimum probability of a category in the prediction set.

    Split conformal prediction (LAC; Sadinle, Lei & Wasserman, 2019): the set misses the true category of a
    new case with probability at most ``error``, over cases and splits.

    Args:
        probabilities: float64, (cases, labels), of independent cases: one per group.
        targets: int64, (cases,), index of the true label.
        error: the rate to guarantee.

    Returns:
        The level; 0, which includes all categories, if there are too few cases.
    """
    scores = np.sort(probabilities[np.arange(len(targets)), targets])
    # The k-th smallest score, for the largest k with k / (n + 1) within the error.
    rank = int(np.floor(error * (len(scores) + 1)))
    return float(scores[rank - 1]) if rank else 0.0


def evaluate_abstention(
    predictions: Predictions, selected: dict[str, Any], parameters: EvaluationParameters
) -> dict[str, Any]:
    """Evaluate abstention and prediction sets over all cases.

    Groups count by their size here, but the guarantee is for one case per group.

    Args:
        predictions: predictions of a split.
        selected: output of :func:`select_abstention` for ``photos`` or ``products_with_text``.
        parameters: bootstrap settings.

    Returns:
        Estimates: ``coverage`` (share answered), ``error`` (None if nothing is answered),
        ``error_of_all`` (without abstention), ``set_coverage`` and ``set_size``.
    """
    correct, groups = predictions.correct, predictions.groups
    answered = predictions.confidences > selected["threshold"]
    sets = predictions.probabilities >= selected["set_above"]
    covered = sets[np.arange(len(groups)), predictions.targets]
    metrics: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {
        "coverage": (answered, groups),
        "error": (~correct[answered], groups[answered]),
        "error_of_all": (~correct, groups),
        "set_coverage": (covered, groups),
        "set_size": (sets.sum(axis=1), groups),
    }
    return {
        name: mean_by_group(values, of_groups, *parameters.bootstrap).to_dict()
        if len(values)
        else None
        for name, (values, of_groups) in metrics.items()
    }


def sample_one_per_group(groups: ArrayLike, seed: int) -> NDArray[np.int64]:
    """Sample one case of each group; returns their sorted positions: int64, (groups,)."""
    labels = np.asarray(groups)
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    _, first = np.unique(labels[shuffled], return_index=True)
    return np.sort(shuffled[first]).astype(np.int64)


def _select(predictions: Predictions, error: float, seed: int) -> dict[str, Any]:
    rows = sample_one_per_group(predictions.groups, seed)
    confidences, correct = predictions.confidences[rows], predictions.correct[rows]
    level = select_set_level(predictions.probabilities[rows], predictions.targets[rows], error)
    return {
        "threshold": select_threshold(confidences, correct, error),
        "error": error,
        "assurance": ASSURANCE,
        "set_above": level,
        "groups": len(rows),
    }
