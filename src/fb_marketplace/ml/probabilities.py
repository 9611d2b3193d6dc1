"""Probabilities of classes: from logits, at one temperature (Guo et al., 2017), and what they lose."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EPSILON: Final = 1e-30
"""What a probability is taken for that float32 could not hold, so that it has a logarithm."""


def softmax(logits: NDArray[np.floating]) -> Floats:
    """Turn logits into probabilities, row by row."""
    wide = np.asarray(logits, dtype=np.float64)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def log_losses(
    probabilities: NDArray[np.floating], classes: NDArray[np.int64], least: float = EPSILON
) -> Floats:
    """Minus the logarithm of what was said of the true class, in nats: (cases,).

    Args:
        probabilities: (cases, classes).
        classes: (cases,), what is true.
        least: what a smaller probability is taken for.
    """
    said = np.asarray(probabilities, dtype=np.float64)[np.arange(len(classes)), classes]
    losses: Floats = -np.log(np.maximum(said, least))
    return losses


def log_loss(
    probabilities: NDArray[np.floating], classes: NDArray[np.int64], least: float = EPSILON
) -> float:
    """Mean of :func:`log_losses`."""
    return float(log_losses(probabilities, classes, least).mean())


def fit_temperature(
    logits: NDArray[np.floating], classes: NDArray[np.int64], least: float = EPSILON
) -> float:
    """Find what to divide logits by for the least negative log-likelihood (Guo et al., 2017).

    The likelihood is concave in the inverse of the temperature, so the search is for its one maximum,
    between 1/1000 and 1000. Cases whose true class is not known say nothing of it: they lose the same
    at any temperature.

    Args:
        logits: (cases, classes); minus infinity for a class that is not known.
        classes: (cases,), what is true.
        least: probability that none falls below.

    Returns:
        The temperature; 1 where none is best: there are no cases, every answer is right (sharper is
        always better), or the true class does no better than the mean of all (flatter always is).
    """
    from scipy.optimize import minimize_scalar

    wide = np.asarray(logits, dtype=np.float64)
    told = np.isfinite(wide[np.arange(len(wide)), classes])
    wide, classes = wide[told], classes[told]
    if not len(wide):
        return 1.0
    said = wide[np.arange(len(wide)), classes]
    means = wide.mean(axis=1, where=np.isfinite(wide))
    no_minimum = (said >= wide.max(axis=1)).all() or said.mean() <= means.mean()
    if no_minimum:
        return 1.0

    def loss(exponent: float) -> float:
        return log_loss(softmax(wide / np.exp(exponent)), classes, least)

    reach = float(np.log(1000))
    options = {"xatol": 1e-6}
    found = minimize_scalar(loss, bounds=(-reach, reach), method="bounded", options=options)
    return float(np.exp(found.x))
