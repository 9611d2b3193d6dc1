"""Prediction intervals by split conformal prediction (Papadopoulos et al., 2002; Lei et al., 2018)."""

import math

import numpy as np
from numpy.typing import NDArray


def conformal_half_width(
    truth: NDArray[np.float64], predicted: NDArray[np.float64], coverage: float
) -> float:
    """Compute the half-width of an interval that covers this share of the true values.

    On the logarithm of the price, one width serves cheap and expensive listings. Quantile regression with
    a conformal correction (CQR) gave wider intervals on the validation split of real listings.

    Conformal prediction assumes exchangeable cases and a model that has not seen them. Here the validation
    listings selected the penalty, the number of trees and the model, so their errors are slightly too
    small, and listings of one group are not independent. The coverage is therefore measured on test.

    Args:
        truth: float64, (cases,); cases from groups that no model was fitted on.
        predicted: float64, (cases,).
        coverage: share of true values to cover.

    Returns:
        The ceil((cases + 1) · coverage)-th smallest absolute error, or the largest error if there are too
        few cases.
    """
    errors = np.sort(np.abs(truth - predicted))
    rank = math.ceil((len(errors) + 1) * coverage)
    return float(errors[min(rank, len(errors)) - 1])
