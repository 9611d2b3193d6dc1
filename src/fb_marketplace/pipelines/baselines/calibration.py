"""Probabilities that mean what they say: one temperature (Guo et al., 2017)."""

import numpy as np
from numpy.typing import NDArray


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn logits into probabilities, row by row."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def log_loss(probabilities: NDArray[np.floating], truth: NDArray[np.int64]) -> float:
    """Mean of minus the logarithm of what was said of the true class, in nats."""
    said = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(said.astype(np.float64)).mean())


def temperature(logits: NDArray[np.float64], truth: NDArray[np.int64], least: float) -> float:
    """Find what to divide logits by for the least loss.

    Args:
        logits: (cases, classes); minus infinity for a class that is not known.
        truth: (cases,).
        least: probability that none falls below.

    Returns:
        Between 1/20 and 20.
    """
    from scipy.optimize import minimize_scalar

    def loss(exponent: float) -> float:
        said = np.maximum(softmax(logits / np.exp(exponent)), least)
        return log_loss(said, truth)

    reach = np.log(20)
    return float(np.exp(minimize_scalar(loss, bounds=(-reach, reach), method="bounded").x))
