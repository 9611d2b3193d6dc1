"""Confidence intervals by a cluster bootstrap (Efron, 1979).

It resamples groups, because cases of one group are not independent.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fb_marketplace.skipping import InsufficientDataError

MORE_CASES: Final = (
    "Provide more listings, or increase the shares of the evaluation splits under `splits:` in "
    "parameters_cleaning.yml."
)
"""The remedy in errors about splits that are too small."""

_SAMPLES_PER_BATCH: Final = 50
"""Samples whose groups are counted at a time, which bounds the memory."""


class Estimate(NamedTuple):
    """A statistic with its percentile interval.

    Attributes:
        value: the statistic over all cases.
        low: lower end of the interval.
        high: upper end of the interval.
        cases: number of cases.
        groups: number of groups.
    """

    value: float
    low: float
    high: float
    cases: int
    groups: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, rounded to four digits, for a report."""
        rounded = {name: round(float(getattr(self, name)), 4) for name in ("value", "low", "high")}
        return rounded | {"cases": self.cases, "groups": self.groups}


def mean_by_group(
    values: ArrayLike, groups: ArrayLike, samples: int, confidence: float, seed: int
) -> Estimate:
    """Estimate a mean.

    Args:
        values: (cases,), for example whether each prediction is correct.
        groups: (cases,), the group of each case.
        samples: number of bootstrap samples; each draws as many groups as exist, with replacement.
        confidence: share of the samples inside the interval.
        seed: seed of the draws.

    Returns:
        The mean with its interval.

    Raises:
        InsufficientDataError: there are no cases.
    """
    cases = np.asarray(values, dtype=np.float64)
    _check_not_empty(len(cases))
    _, group_of_case = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(group_of_case, weights=cases).astype(np.float64)
    sizes = np.bincount(group_of_case).astype(np.int64)
    generator = np.random.default_rng(seed)
    means = np.empty(samples)
    for sample in range(samples):
        drawn = generator.integers(len(sums), size=len(sums))
        means[sample] = sums[drawn].sum() / sizes[drawn].sum()
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(cases.mean()), float(low), float(high), len(cases), len(sizes))


def statistic_by_group(
    statistic: Callable[..., float],
    columns: Sequence[ArrayLike],
    groups: ArrayLike,
    samples: int,
    confidence: float,
    seed: int,
) -> Estimate:
    """Estimate any statistic; slower than :func:`mean_by_group`, with the same draws.

    Args:
        statistic: function of columns of equal length; NaN if it is undefined for them.
        columns: each (cases,), for example targets and predictions.
        groups: (cases,), the group of each case.
        samples: number of bootstrap samples. Samples for which the statistic is undefined are dropped.
        confidence: share of the samples inside the interval.
        seed: seed of the draws.

    Returns:
        The statistic with its interval.

    Raises:
        InsufficientDataError: there are no cases, or the statistic is undefined for them.
    """
    arrays = [np.asarray(column) for column in columns]
    labels = np.asarray(groups)
    _check_not_empty(len(labels))
    value = float(statistic(*arrays))
    _check_defined(value, statistic, len(labels))
    _, group_of_case, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(group_of_case, kind="stable")
    by_group = [array[order] for array in arrays]
    generator = np.random.default_rng(seed)
    statistics = np.empty(samples)
    for sample in range(samples):
        rows = _rows_of_groups(generator.integers(len(sizes), size=len(sizes)), sizes)
        statistics[sample] = statistic(*(column[rows] for column in by_group))
    low, high = _interval(statistics, confidence, value)
    return Estimate(value, low, high, len(labels), len(sizes))


def ratio_by_group(
    parts: ArrayLike,
    totals: ArrayLike,
    groups: ArrayLike,
    samples: int,
    confidence: float,
    seed: int,
) -> Estimate:
    """Estimate the sum of the parts, divided by the sum of the totals; see :func:`statistic_of_sums`."""

    def ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(sums[:, 1] != 0, sums[:, 0] / sums[:, 1], np.nan)

    columns = np.stack([np.asarray(parts), np.asarray(totals)], axis=1)
    return statistic_of_sums(ratio, columns, groups, samples, confidence, seed)


def statistic_of_sums(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    columns: ArrayLike,
    groups: ArrayLike,
    samples: int,
    confidence: float,
    seed: int,
) -> Estimate:
    """Estimate a statistic that depends on sums over the cases only, such as a ratio.

    It has the draws of :func:`statistic_by_group`, and takes a fraction of the time.

    Args:
        statistic: function of the sums, float64, (samples, columns), that returns one value per sample;
            NaN if it is undefined for a sample.
        columns: (cases, columns).
        groups: (cases,), the group of each case.
        samples: number of bootstrap samples. Samples for which the statistic is undefined are dropped.
        confidence: share of the samples inside the interval.
        seed: seed of the draws.

    Returns:
        The statistic with its interval.

    Raises:
        InsufficientDataError: there are no cases, or the statistic is undefined for them.
    """
    cases = np.asarray(columns)
    _check_not_empty(len(cases))
    _, group_of_case = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.stack([np.bincount(group_of_case, column) for column in cases.T], axis=1)
    value = float(statistic(sums.sum(axis=0, keepdims=True))[0])
    _check_defined(value, statistic, len(cases))
    generator = np.random.default_rng(seed)
    statistics = []
    for start in range(0, samples, _SAMPLES_PER_BATCH):
        size = min(_SAMPLES_PER_BATCH, samples - start)
        drawn = [
            np.bincount(generator.integers(len(sums), size=len(sums)), minlength=len(sums))
            for _ in range(size)
        ]
        statistics.append(statistic(np.array(drawn, np.float64) @ sums))
    low, high = _interval(np.concatenate(statistics), confidence, value)
    return Estimate(value, low, high, len(cases), len(sums))


def _interval(
    statistics: NDArray[np.float64], confidence: float, value: float
) -> tuple[float, float]:
    """Return the ends of the interval; the value itself if all samples are undefined."""
    defined = statistics[~np.isnan(statistics)]
    if not len(defined):
        return value, value
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _rows_of_groups(drawn: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of the drawn groups: int64, (rows,). The cases must be sorted by group."""
    starts, counts = np.cumsum(sizes) - sizes, sizes[drawn]
    shifts = starts[drawn] - (np.cumsum(counts) - counts)
    rows: NDArray[np.int64] = np.repeat(shifts, counts) + np.arange(counts.sum())
    return rows


def _check_not_empty(cases: int) -> None:
    if not cases:
        raise InsufficientDataError(
            "cannot evaluate: the validation or test split has no listings, or no listing with two "
            f"different photos. {MORE_CASES}"
        )


def _check_defined(value: float, statistic: Callable[..., Any], cases: int) -> None:
    if np.isnan(value):
        raise InsufficientDataError(
            f"cannot compute {getattr(statistic, '__name__', 'a metric')}: it is undefined for the "
            f"{cases:,} cases of a split. {MORE_CASES}"
        )
