"""Metrics with their count and interval: resampled by group, since a group's photos are not independent."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fb_marketplace.errors import UserError


class Estimate(NamedTuple):
    """A mean with its interval.

    Attributes:
        value: the mean over all cases.
        low: lower end of the interval.
        high: upper end of the interval.
        cases: how many cases it is the mean of.
        groups: how many groups they came from.
    """

    value: float
    low: float
    high: float
    cases: int
    groups: int

    def plain(self) -> dict[str, Any]:
        """Give it for a report."""
        rounded = {name: round(float(getattr(self, name)), 4) for name in ("value", "low", "high")}
        return rounded | {"cases": self.cases, "groups": self.groups}


def mean_by_group(
    values: ArrayLike, groups: ArrayLike, samples: int, confidence: float, seed: int
) -> Estimate:
    """Estimate a mean, with a percentile interval from a bootstrap over groups (Efron, 1979).

    Args:
        values: (cases,), such as whether each answer was right.
        groups: (cases,), the group of each.
        samples: how many times groups are drawn, as many as there are, with replacement.
        confidence: share of the samples that lie in the interval.
        seed: of the draws.

    Raises:
        UserError: there are no cases.
    """
    found = np.asarray(values, dtype=np.float64)
    if not len(found):
        raise UserError(
            "nothing to measure: the validation or test split has no listing, or no photo with a "
            "partner. Give more listings, or larger shares under `splits:` in parameters_cleaning.yml"
        )
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(place, weights=found).astype(np.float64)
    sizes = np.bincount(place).astype(np.int64)
    drawn = _drawn_means(sums, sizes, samples, np.random.default_rng(seed))
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(found.mean()), float(low), float(high), len(found), len(sizes))


def _drawn_means(
    sums: NDArray[np.float64],
    sizes: NDArray[np.int64],
    samples: int,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    means = np.empty(samples)
    for sample in range(samples):
        drawn = generator.integers(len(sums), size=len(sums))
        means[sample] = sums[drawn].sum() / sizes[drawn].sum()
    return means
