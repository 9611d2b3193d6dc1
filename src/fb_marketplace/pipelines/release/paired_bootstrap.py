"""Whether a release is worse than another on the same cases, by several measures at once."""

from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MACRO_METRICS: Final = "all_together"
"""The mean of all measures."""

MIN_GROUPS: Final = 20
"""Of fewer a bootstrap says little (its intervals are too narrow)."""

_DRAW_BATCH_SIZE: Final = 4_000_000


class PairedDifference(NamedTuple):
    """A measure of two releases on the cases that both hold.

    Attributes:
        ours: the mean of the new one.
        theirs: the mean of the other.
        difference: ours less theirs.
        low: lower end of its interval.
        high: upper end of it; below zero where ours is significantly worse.
        cases: how many both hold.
        groups: how many groups these are of.
    """

    ours: float
    theirs: float
    difference: float
    low: float
    high: float
    cases: int
    groups: int

    @property
    def is_worse(self) -> bool:
        """Whether ours is significantly worse."""
        return self.high < 0


def shared_cases(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Pair the cases that both hold, by measure: ``group_id`` (of ours), ``ours``, ``theirs``."""
    pairs = ours.merge(theirs, on=["measure", "case"], suffixes=("", "_theirs"), validate="1:1")
    renamed = pairs.rename(columns={"value": "ours", "value_theirs": "theirs"})
    columns = ["group_id", "ours", "theirs"]
    return {str(name): part[columns] for name, part in renamed.groupby("measure", sort=True)}


def compare_cases(
    pairs: dict[str, pd.DataFrame], samples: int, confidence: float, seed: int
) -> dict[str, PairedDifference]:
    """Compare two releases by all measures, and by their mean, with intervals that hold together.

    Groups are drawn with replacement, the same ones for every measure, as what befalls a group befalls
    all its cases and measures (paired bootstrap; Efron & Tibshirani, 1993). Differences are divided
    by their standard errors, and the half-width of every interval, in standard errors, is what the
    largest deviation over *all* of them keeps within (max-T; Westfall & Young, 1993, "Resampling-based
    multiple testing", ch. 2). That is the confidence shared out, as by Bonferroni, but measures that
    rise and fall together are not paid for twice. It is taken on both sides (Hall, 1988), as the
    difference of few groups is skewed.

    The mean of all measures is one more (the combined endpoint of O'Brien, 1984): a network that is
    worse is a little worse by each, which alone no measure shows (``benchmarks/long/gate.py`` says how
    many of 100 drawn pairs are refused). A measure in which nothing differs takes no part.

    Args:
        pairs: of each measure, as :func:`shared_cases` gives them.
        samples: how many times groups are drawn.
        confidence: that an equally good release is not called worse, by any measure.
        seed: of the draws.

    Returns:
        By measure, and ``all_together`` where there are several; measures of fewer than
        ``MIN_GROUPS`` groups are left out.
    """
    kept = {name: part for name, part in pairs.items() if part["group_id"].nunique() >= MIN_GROUPS}
    if not kept:
        return {}
    sums, counts = _by_group(kept)
    found, drawn = _means(sums, counts), _drawn(sums, counts, samples, seed)
    groups = [int((column > 0).sum()) for column in counts.T]
    cases = [len(part) for part in kept.values()]
    ours = [float(part["ours"].mean()) for part in kept.values()]
    theirs = [float(part["theirs"].mean()) for part in kept.values()]
    names = list(kept)
    if len(names) > 1:
        names.append(MACRO_METRICS)
        found = np.append(found, found.mean())
        drawn = np.column_stack([drawn, drawn.mean(axis=1)])
        ours.append(float(np.mean(ours)))
        theirs.append(float(np.mean(theirs)))
        cases.append(sum(cases))
        groups.append(len(counts))
    errors = drawn.std(axis=0)
    differing = errors > 0
    reach = np.zeros(len(names))
    if differing.any():
        deviations = np.abs(drawn - found)[:, differing] / errors[differing]
        reach = errors * np.quantile(deviations.max(axis=1), 1 - 2 * (1 - confidence))
    return {
        name: PairedDifference(
            ours[place],
            theirs[place],
            float(found[place]),
            float(found[place] - reach[place]),
            float(found[place] + reach[place]),
            cases[place],
            groups[place],
        )
        for place, name in enumerate(names)
    }


def _by_group(
    pairs: dict[str, pd.DataFrame],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum differences, and count cases, by group: both (groups, measures)."""
    known = pd.concat([part["group_id"] for part in pairs.values()]).unique()
    sums, counts = np.zeros((len(known), len(pairs))), np.zeros((len(known), len(pairs)))
    for place, part in enumerate(pairs.values()):
        rows = pd.Categorical(part["group_id"], categories=known).codes
        differences = (part["ours"] - part["theirs"]).to_numpy(dtype=np.float64)
        sums[:, place] = np.bincount(rows, weights=differences, minlength=len(known))
        counts[:, place] = np.bincount(rows, minlength=len(known))
    return sums, counts


def _means(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    means: NDArray[np.float64] = sums.sum(axis=0) / counts.sum(axis=0)
    return means


def _drawn(
    sums: NDArray[np.float64], counts: NDArray[np.float64], samples: int, seed: int
) -> NDArray[np.float64]:
    """Draw groups and give the differences that this makes: (samples, measures)."""
    generator = np.random.default_rng(seed)
    groups, parts = len(sums), []
    step = max(1, _DRAW_BATCH_SIZE // groups)
    for start in range(0, samples, step):
        size = min(step, samples - start)
        times = generator.multinomial(groups, np.full(groups, 1 / groups), size).astype(np.float64)
        # A draw may hold no case of a measure that few groups have: then it says nothing of it.
        parts.append((times @ sums) / np.maximum(times @ counts, 1))
    return np.concatenate(parts)
