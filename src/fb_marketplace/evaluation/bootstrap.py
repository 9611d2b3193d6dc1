"""Metrics with their count and interval: resampled by group, since a group's photos are not independent."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fb_marketplace.errors import UserError


class Estimate(NamedTuple):
    """A mean, or another statistic, with its interval.

    Attributes:
        value: over all cases.
        low: lower end of the interval.
        high: upper end of the interval.
        cases: how many cases it is of.
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
    _refuse_none(len(found))
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(place, weights=found).astype(np.float64)
    sizes = np.bincount(place).astype(np.int64)
    drawn = _drawn_means(sums, sizes, samples, np.random.default_rng(seed))
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(found.mean()), float(low), float(high), len(found), len(sizes))


def statistic_by_group(
    statistic: Callable[..., float],
    columns: Sequence[ArrayLike],
    groups: ArrayLike,
    samples: int,
    confidence: float,
    seed: int,
) -> Estimate:
    """Estimate a statistic that is no mean, with a percentile interval from the same bootstrap.

    Args:
        statistic: takes columns of equal length, and gives a number; NaN where it is not defined.
        columns: each (cases,), such as what is true and what was answered.
        groups: (cases,), the group of each.
        samples: how many times groups are drawn, as many as there are, with replacement. Draws on
            which the statistic is not defined are left out.
        confidence: share of the samples that lie in the interval.
        seed: of the draws.

    Raises:
        UserError: there are no cases, or the statistic is not defined on them.
    """
    found = [np.asarray(column) for column in columns]
    labels = np.asarray(groups)
    _refuse_none(len(labels))
    value = float(statistic(*found))
    if np.isnan(value):
        raise UserError(
            f"{getattr(statistic, '__name__', 'a metric')} is not defined on {len(labels)} listings of a "
            "split; give more listings, or larger shares under `splits:` in parameters_cleaning.yml"
        )
    _, place, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(place, kind="stable")
    by_group = [column[order] for column in found]
    generator = np.random.default_rng(seed)
    drawn = np.empty(samples)
    for sample in range(samples):
        rows = _rows_of(generator.integers(len(sizes), size=len(sizes)), sizes)
        drawn[sample] = statistic(*(column[rows] for column in by_group))
    low, high = _quantiles_of_defined(drawn, value, confidence)
    return Estimate(value, low, high, len(labels), len(sizes))


def _rows_of(chosen: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the rows of groups, where the rows of one group follow those of the one before."""
    starts, taken = np.cumsum(sizes) - sizes, sizes[chosen]
    shifts = starts[chosen] - (np.cumsum(taken) - taken)
    rows: NDArray[np.int64] = np.repeat(shifts, taken) + np.arange(taken.sum())
    return rows


def _refuse_none(cases: int) -> None:
    if not cases:
        raise UserError(
            "nothing to measure: the validation or test split has no listing, or no photo with a "
            "partner. Give more listings, or larger shares under `splits:` in parameters_cleaning.yml"
        )


def _quantiles_of_defined(
    drawn: NDArray[np.float64], value: float, confidence: float
) -> tuple[float, float]:
    defined = drawn[~np.isnan(drawn)]
    if not len(defined):
        return value, value
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


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
