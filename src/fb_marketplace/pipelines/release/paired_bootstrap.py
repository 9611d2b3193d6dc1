"""Paired bootstrap over several metrics, to test whether a release is worse on the same cases."""

from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MACRO_METRICS: Final = "all_together"
"""Name of the mean of all metrics."""

MIN_GROUPS: Final = 20
"""Minimum number of groups. With fewer, bootstrap intervals are too narrow."""

_DRAW_BATCH_SIZE: Final = 4_000_000


class PairedDifference(NamedTuple):
    """Difference in a metric between two releases, on the cases that both have.

    Attributes:
        new: mean of the new release.
        current: mean of the current release.
        difference: ``new`` minus ``current``.
        low: lower end of the confidence interval.
        high: upper end of the interval; below zero if the new release is significantly worse.
        cases: number of shared cases.
        groups: number of groups of these cases.
    """

    new: float
    current: float
    difference: float
    low: float
    high: float
    cases: int
    groups: int

    @property
    def is_worse(self) -> bool:
        """Whether the new release is significantly worse."""
        return self.high < 0


def shared_cases(new: pd.DataFrame, current: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the shared cases by metric; columns ``group_id`` (of ``new``), ``new``, ``current``."""
    pairs = new.merge(current, on=["measure", "case"], suffixes=("", "_current"), validate="1:1")
    renamed = pairs.rename(columns={"value": "new", "value_current": "current"})
    columns = ["group_id", "new", "current"]
    return {str(name): part[columns] for name, part in renamed.groupby("measure", sort=True)}


def compare_cases(
    pairs: dict[str, pd.DataFrame], samples: int, confidence: float, seed: int
) -> dict[str, PairedDifference]:
    """Compare two releases by every metric and by their mean, with simultaneous intervals.

    Groups are sampled with replacement, and a sample is shared by all metrics, because the cases and
    metrics of a group depend on each other (paired bootstrap; Efron & Tibshirani, 1993). Each difference
    is divided by its standard error. All intervals have the same half-width in standard errors: a quantile
    of the largest deviation over *all* metrics (max-T; Westfall & Young, 1993, "Resampling-based multiple
    testing", ch. 2). Like Bonferroni, this controls the joint error rate, but correlated metrics cost less
    power. Intervals are symmetric (Hall, 1988), because differences over few groups are skewed.

    The mean of all metrics is compared too (the combined endpoint of O'Brien, 1984): a slightly worse
    network is slightly worse by every metric, and no single metric may show it significantly
    (``benchmarks/long/gate.py`` measures how often simulated pairs are rejected). A metric without
    any difference is ignored.

    Args:
        pairs: shared cases by metric, from :func:`shared_cases`.
        samples: number of bootstrap samples.
        confidence: probability that an equally good release is not called worse by any metric.
        seed: seed of the samples.

    Returns:
        Differences by metric, and ``all_together`` if there are several metrics. Metrics with fewer than
        ``MIN_GROUPS`` groups are left out.
    """
    usable = {
        name: part for name, part in pairs.items() if part["group_id"].nunique() >= MIN_GROUPS
    }
    if not usable:
        return {}
    sums, counts = _by_group(usable)
    observed, resampled = _means(sums, counts), _resample(sums, counts, samples, seed)
    groups = [int((column > 0).sum()) for column in counts.T]
    cases = [len(part) for part in usable.values()]
    new = [float(part["new"].mean()) for part in usable.values()]
    current = [float(part["current"].mean()) for part in usable.values()]
    names = list(usable)
    if len(names) > 1:
        names.append(MACRO_METRICS)
        observed = np.append(observed, observed.mean())
        resampled = np.column_stack([resampled, resampled.mean(axis=1)])
        new.append(float(np.mean(new)))
        current.append(float(np.mean(current)))
        cases.append(sum(cases))
        groups.append(len(counts))
    errors = resampled.std(axis=0)
    differing = errors > 0
    half_widths = np.zeros(len(names))
    if differing.any():
        deviations = np.abs(resampled - observed)[:, differing] / errors[differing]
        half_widths = errors * np.quantile(deviations.max(axis=1), 1 - 2 * (1 - confidence))
    return {
        name: PairedDifference(
            new[i],
            current[i],
            float(observed[i]),
            float(observed[i] - half_widths[i]),
            float(observed[i] + half_widths[i]),
            cases[i],
            groups[i],
        )
        for i, name in enumerate(names)
    }


def _by_group(
    pairs: dict[str, pd.DataFrame],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return sums of differences and counts of cases by group, each float64, (groups, metrics)."""
    group_ids = pd.concat([part["group_id"] for part in pairs.values()]).unique()
    sums, counts = np.zeros((len(group_ids), len(pairs))), np.zeros((len(group_ids), len(pairs)))
    for i, part in enumerate(pairs.values()):
        rows = pd.Categorical(part["group_id"], categories=group_ids).codes
        differences = (part["new"] - part["current"]).to_numpy(dtype=np.float64)
        sums[:, i] = np.bincount(rows, weights=differences, minlength=len(group_ids))
        counts[:, i] = np.bincount(rows, minlength=len(group_ids))
    return sums, counts


def _means(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    means: NDArray[np.float64] = sums.sum(axis=0) / counts.sum(axis=0)
    return means


def _resample(
    sums: NDArray[np.float64], counts: NDArray[np.float64], samples: int, seed: int
) -> NDArray[np.float64]:
    """Return the mean differences of bootstrap samples: float64, (samples, metrics)."""
    generator = np.random.default_rng(seed)
    groups, parts = len(sums), []
    step = max(1, _DRAW_BATCH_SIZE // groups)
    for start in range(0, samples, step):
        size = min(step, samples - start)
        weights = generator.multinomial(groups, np.full(groups, 1 / groups), size).astype(
            np.float64
        )
        # If few groups have a metric, a sample may contain no case of it. Its difference is then 0.
        parts.append((weights @ sums) / np.maximum(weights @ counts, 1))
    return np.concatenate(parts)
