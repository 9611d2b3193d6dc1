"""Split conformal prediction (Papadopoulos et al., 2002; Lei et al., 2018)."""

import math

import numpy as np
from numpy.typing import NDArray


def conformal_rank(cases: int, coverage: float) -> int:
    """Return the number of calibration cases to cover, so that a share of new cases is covered.

    Args:
        cases: number of calibration cases.
        coverage: share of new cases to cover.

    Returns:
        ceil((cases + 1) · coverage), at most ``cases``; with too few cases the guarantee is weaker.
    """
    return min(math.ceil((cases + 1) * coverage), cases)


def conformal_half_width(errors: NDArray[np.float64], coverage: float) -> float:
    """Return the half-width of prediction intervals that cover a share of new cases.

    The guarantee is for an independent case of the same distribution, and for a fixed model. If the cases
    also selected the model, their errors are slightly too small.

    Args:
        errors: float64, (cases,), prediction errors on cases that the model was not fitted to.
        coverage: share of new cases to cover.
    """
    return float(np.sort(np.abs(errors))[conformal_rank(len(errors), coverage) - 1])
