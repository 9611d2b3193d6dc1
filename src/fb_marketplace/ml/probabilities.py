"""Softmax, log loss and temperature scaling (Guo et al., 2017)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EPSILON: Final = 1e-30
"""Lower bound of probabilities, so that a float32 zero has a logarithm."""


def softmax(logits: NDArray[np.floating]) -> Floats:
    """Compute probabilities by row: float64, (cases, classes)."""
    from scipy.special import softmax as scipy_softmax

    probabilities: Floats = scipy_softmax(np.asarray(logits, dtype=np.float64), axis=1)
    return probabilities


def log_losses(
    probabilities: NDArray[np.floating], targets: NDArray[np.int64], minimum: float = EPSILON
) -> Floats:
    """Compute the negative log-likelihood of each case in nats: (cases,).

    Args:
        probabilities: (cases, classes).
        targets: (cases,), index of the true class.
        minimum: lower bound of probabilities.
    """
    likelihoods = np.asarray(probabilities, dtype=np.float64)[np.arange(len(targets)), targets]
    losses: Floats = -np.log(np.maximum(likelihoods, minimum))
    return losses


def log_loss(
    probabilities: NDArray[np.floating], targets: NDArray[np.int64], minimum: float = EPSILON
) -> float:
    """Compute the mean of :func:`log_losses`."""
    return float(log_losses(probabilities, targets, minimum).mean())


def fit_temperature(
    logits: NDArray[np.floating], targets: NDArray[np.int64], minimum: float = EPSILON
) -> float:
    """Return the temperature with the lowest log loss, between 1/1000 and 1000.

    The log-likelihood is concave in the inverse of the temperature, so it has one maximum. Cases whose
    true class is unknown have the same loss at any temperature and are left out.

    Args:
        logits: (cases, classes); minus infinity for an unknown class.
        targets: (cases,), index of the true class.
        minimum: lower bound of probabilities.

    Returns:
        The temperature; 1 if there is no optimum: no cases, only correct predictions (sharper is always
        better), or true classes with at most the mean logit (flatter is always better).
    """
    from scipy.optimize import minimize_scalar

    wide = np.asarray(logits, dtype=np.float64)
    known = np.isfinite(wide[np.arange(len(wide)), targets])
    wide, targets = wide[known], targets[known]
    if not len(wide):
        return 1.0
    of_targets = wide[np.arange(len(wide)), targets]
    means = wide.mean(axis=1, where=np.isfinite(wide))
    if (of_targets >= wide.max(axis=1)).all() or of_targets.mean() <= means.mean():
        return 1.0

    def loss(log_temperature: float) -> float:
        return log_loss(softmax(wide / np.exp(log_temperature)), targets, minimum)

    limit = float(np.log(1000))
    options = {"xatol": 1e-6}
    result = minimize_scalar(loss, bounds=(-limit, limit), method="bounded", options=options)
    return float(np.exp(result.x))
