"""Counterfactual evaluation: the value that another order of logged listings would have had.

A user examines the listing at a position with a probability that falls with the position, its exposure, and
clicks an examined listing with a probability that depends on the listing alone, its attractiveness. The
value of an order is the attractiveness of its listings, discounted by rank as in DCG. The estimators:

- ``naive``: clicks. Biased towards the logged order, whose first listings are examined most.
- ``ips``, inverse propensity scoring: clicks divided by the expected exposure of their listings (Joachims,
  Swaminathan & Schnabel, 2017, "Unbiased learning-to-rank with biased feedback").
- ``doubly_robust``: a predicted attractiveness, plus the weighted error of its prediction of the click
  (Oosterhuis, 2023, "Doubly-robust estimation for correcting position bias in click feedback").

The last two are unbiased if exposure and propensity are right and the prediction is independent of the
clicks. Listings without exposure count nothing for ``ips``, and as predicted for ``doubly_robust``. A lower
limit of the propensity lowers the variance; its bias is smaller for ``doubly_robust``.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ESTIMATORS: Final = ("naive", "ips", "doubly_robust")


class LoggedListings(NamedTuple):
    """The listings of logged searches, shown or not.

    Attributes:
        search: int64, (rows,), number of the search, from 0 without gaps.
        clicked: bool, (rows,).
        exposure: float64, (rows,), probability that the logged position is examined; 0 if the listing was
            not shown.
        propensity: float64, (rows,), expected exposure of the listing in searches for the same text; above
            zero, or zero for a listing that is never shown.
        attractiveness: float64, (rows,), predicted probability of a click on the listing if examined.
    """

    search: NDArray[np.int64]
    clicked: NDArray[np.bool_]
    exposure: Floats
    propensity: Floats
    attractiveness: Floats


def estimate_values(logged: LoggedListings, scores: Floats) -> dict[str, Floats]:
    """Estimate the value of each search if its listings were ordered by scores.

    Args:
        logged: the listings.
        scores: float64, (rows,), higher is better; ties stay in order.

    Returns:
        float64, (searches,), by name of the estimator.
    """
    is_possible = logged.propensity > 0
    weight = np.divide(1.0, logged.propensity, out=np.zeros(len(scores)), where=is_possible)
    predicted = logged.attractiveness
    rewards = {
        "naive": logged.clicked.astype(np.float64),
        "ips": weight * logged.clicked,
        "doubly_robust": predicted + weight * (logged.clicked - logged.exposure * predicted),
    }
    discount = discounts_by_search(logged.search, scores)
    return {
        name: np.bincount(logged.search, weights=discount * reward).astype(np.float64)
        for name, reward in rewards.items()
    }


def discounts_by_search(search: NDArray[np.int64], scores: Floats) -> Floats:
    """Return the discount 1 / log2(rank + 1) of each row within its search: float64, (rows,)."""
    order = np.lexsort((-scores, search))
    sizes = np.bincount(search)
    rank = np.empty(len(scores), np.int64)
    rank[order] = np.arange(len(scores)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    discount: Floats = 1 / np.log2(rank + 2.0)
    return discount
