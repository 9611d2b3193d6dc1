"""When to say "not sure": a threshold that promises an error rate, and sets that promise to hold.

Both promises are for one case drawn from each group, since cases of a group are not independent, and take
the model as given: the same validation listings chose its epoch, its temperature and the weights of photos
and text, so that what they promise is somewhat too good.
"""

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from fb_marketplace.evaluation.bootstrap import mean_by_group
from fb_marketplace.evaluation.predictions import Predictions, class_labels, predictions_for_split
from fb_marketplace.parameters.vision import EvaluationParameters

ASSURANCE: Final = 0.9
"""Chance, over validation splits like this one, that a threshold keeps its promise."""

FIRST_SHARE: Final = 0.25
"""Share of the cases, the surest ones, that is tested first."""


def select_abstention(
    vision_predictions: pd.DataFrame,
    product_predictions: pd.DataFrame,
    products: pd.DataFrame,
    parameters: EvaluationParameters,
) -> dict[str, Any]:
    """Choose thresholds and sets on validation, for photos and for listings with text.

    Returns:
        For ``photos`` and ``products_with_text``: ``threshold``, above which a confidence is to be
        answered; ``error``, promised at most among what is answered of one case drawn from each
        group, with ``assurance``;
        ``set_above``, the probability from which a category is in the set, of which ``error`` at
        most lack the true one; and ``groups``, how many that was chosen on.
    """
    labels = class_labels(products)
    tables = {"photos": vision_predictions, "products_with_text": product_predictions}
    return {
        name: _choose(
            predictions_for_split(table, "validation", labels),
            getattr(parameters.abstain_error, name),
            parameters.seed,
        )
        for name, table in tables.items()
    }


def select_threshold(confidences: ArrayLike, right: ArrayLike, error: float) -> float:
    """Find the lowest threshold above which answers are wrong at most so often.

    Learn then Test (Angelopoulos, Bates, Candès, Jordan & Lei, 2021) for selective classification:
    cases are taken the surest first, and for each further one the hypothesis "above this confidence
    more than ``error`` are wrong" is tested by an exact binomial tail, in fixed sequence, until one
    stands. Whatever the model, with probability ``ASSURANCE`` over the cases the error among all
    answers above the threshold is at most ``error``. That holds for any number of cases that are
    independent, if errors get no rarer as the threshold falls. (Conformal risk control bounds losses
    that fall with the threshold, which the error among answers need not do.)

    Args:
        confidences: (cases,), of independent cases: one a group.
        right: (cases,), whether the answer was right.
        error: to promise.

    Returns:
        What a confidence must exceed; 1, which none does, where nothing can be promised: 0.05
        takes 45 cases at least.
    """
    from scipy.stats import binom

    order = np.argsort(-np.asarray(confidences, dtype=np.float64), kind="stable")
    sure = np.asarray(confidences, dtype=np.float64)[order]
    wrong = np.cumsum(~np.asarray(right, dtype=bool)[order])
    least = int(np.ceil(np.log(1 - ASSURANCE) / np.log(1 - error)))
    following = np.append(sure[1:], 0.0)
    threshold = 1.0
    for last in range(max(least, int(FIRST_SHARE * len(sure))) - 1, len(sure)):
        if following[last] == sure[last]:  # no threshold parts the two
            continue
        if binom.cdf(wrong[last], last + 1, error) > 1 - ASSURANCE:
            break
        threshold = float(following[last])
    return threshold


def select_set_level(
    probabilities: NDArray[np.float64], classes: NDArray[np.int64], error: float
) -> float:
    """Find the probability from which a category belongs in the set (LAC; Sadinle, Lei & Wasserman, 2019).

    Split conformal prediction: the true category of a further case is missing with a probability of
    at most ``error``, over cases and split together.

    Args:
        probabilities: (cases, labels), of independent cases: one a group.
        classes: (cases,), what is true.
        error: to promise.

    Returns:
        The level; 0, which lets all in, where there are too few cases for less.
    """
    said = np.sort(probabilities[np.arange(len(classes)), classes])
    # The k-th smallest for which (k of n + 1) is within the error.
    rank = int(np.floor(error * (len(said) + 1)))
    return float(said[rank - 1]) if rank else 0.0


def evaluate_abstention(
    found: Predictions, chosen: dict[str, Any], parameters: EvaluationParameters
) -> dict[str, Any]:
    """Measure what is answered, and how often wrongly; and what sets hold, and how large they are.

    All cases count, so that a group counts by its size, whereas the promise is for one case of each.

    Args:
        found: what was said of a split.
        chosen: thresholds, of :func:`choose_abstention`.
        parameters: of the bootstrap.

    Returns:
        Estimates: ``coverage``, ``error`` (missing where nothing is answered), ``error_of_all``,
        what it would be if everything were, ``set_coverage`` and ``set_size``.
    """
    told = parameters.bootstrap_samples, parameters.confidence, parameters.seed
    answered = found.confidences > chosen["threshold"]
    sets = found.probabilities >= chosen["set_above"]
    held = sets[np.arange(len(found.targets)), found.targets]
    measured: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {
        "coverage": (answered, found.groups),
        "error": (~found.correct[answered], found.groups[answered]),
        "error_of_all": (~found.correct, found.groups),
        "set_coverage": (held, found.groups),
        "set_size": (sets.sum(axis=1), found.groups),
    }
    return {
        name: mean_by_group(values, groups, *told).to_dict() if len(values) else None
        for name, (values, groups) in measured.items()
    }


def sample_one_per_group(groups: ArrayLike, seed: int) -> NDArray[np.int64]:
    """Draw one case of each group: their positions, since cases of a group are not independent."""
    labels = np.asarray(groups)
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    _, first = np.unique(labels[shuffled], return_index=True)
    return np.sort(shuffled[first]).astype(np.int64)


def _choose(found: Predictions, error: float, seed: int) -> dict[str, Any]:
    rows = sample_one_per_group(found.groups, seed)
    level = select_set_level(found.probabilities[rows], found.targets[rows], error)
    return {
        "threshold": select_threshold(found.confidences[rows], found.correct[rows], error),
        "error": error,
        "assurance": ASSURANCE,
        "set_above": level,
        "groups": len(rows),
    }
