"""Split conformal prediction (Papadopoulos et al., 2002; Lei et al., 2018)."""

import math

import numpy as np
from numpy.typing import NDArray


def conformal_rank(cases: int, coverage: float) -> int:
    """Return how many calibration cases an interval must cover to cover this share of further cases.

    Args:
        cases: calibration cases.
        coverage: share of further cases.

    Returns:
        ceil((cases + 1) · coverage); all cases, which promises less, if there are too few.
    """
    return min(math.ceil((cases + 1) * coverage), cases)


def conformal_half_width(errors: NDArray[np.float64], coverage: float) -> float:
    """Return the half width of intervals around predictions that cover this share of further cases.

    The guarantee is for a case like these and independent of them, and takes the model as given: if the
    cases also selected the model, their errors are somewhat small.

    Args:
        errors: (cases,), of predictions for cases that the model was not fitted to.
        coverage: share of further cases.
    """
    return float(np.sort(np.abs(errors))[conformal_rank(len(errors), coverage) - 1])
