"""How far confidence is off: the calibration error, and its picture before and after calibration."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fb_marketplace.errors import UserError
from fb_marketplace.evaluation.bootstrap import statistic_by_group
from fb_marketplace.evaluation.plots import new_figure, to_png
from fb_marketplace.ml.probabilities import EPSILON, softmax

Floats = NDArray[np.float64]

CASES_PER_BIN: Final = 5
"""Where there are fewer cases, there are fewer bins."""


class Bin(NamedTuple):
    """Cases of like confidence.

    Attributes:
        confidence: their mean.
        right: share of them that is right.
        cases: how many they are.
    """

    confidence: float
    right: float
    cases: int


def random_calibration_error(probabilities: NDArray[np.floating], temperature: float) -> Floats:
    """Give back what was said before logits were divided by a temperature."""
    return softmax(temperature * np.log(np.maximum(probabilities, EPSILON)))


def expected_calibration_error(
    confidences: ArrayLike,
    right: ArrayLike,
    groups: ArrayLike,
    bins: int,
    samples: int,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    """Measure by how much confidence and the share of right answers differ, in bins of equal mass.

    A bin's gap is the mean of (right - confidence), and the error the mean of the gaps' absolute values.
    Sampling alone makes gaps, so it is debiased after Kumar, Liang & Ma (2019): from each absolute gap
    what normal noise of its variance would add is taken, which leaves some bias, upwards. The mean
    square can be debiased fully (definition 4.2: the variance is taken from each squared gap), and its
    root, which is never below the mean gap but for chance, is given beside it. They take the variance
    of independent labels; here it is over groups, since a group's photos are not independent.

    Intervals are from the basic bootstrap over groups with the bins held: what is debiased in the
    resamples is spread about what is plain in the data, as the estimate is about the truth. Where the
    truth is near 0, the bias that is left lifts the error's interval too.

    Args:
        confidences: (cases,), probability of what was answered.
        right: (cases,), whether it was right.
        groups: (cases,), the group of each.
        bins: at most; fewer where there are fewer than five cases for each.
        samples: how many times groups are drawn.
        confidence: share of the samples that lie in the interval.
        seed: of the draws.

    Returns:
        ``value``, ``low`` and ``high`` of the debiased error, 0 where that is below 0; those of the
        ``root_mean_square``; ``plain``: the error as it is, without any debiasing; ``cases``,
        ``groups`` and ``bins``.

    Raises:
        UserError: there are no cases.
    """
    sure, good = (np.asarray(each, dtype=np.float64) for each in (confidences, right))
    names, place = np.unique(np.asarray(groups), return_inverse=True)
    if not len(sure):
        raise UserError(
            "calibration cannot be measured on no answer; give more listings, or larger shares "
            "under `splits:` in parameters_cleaning.yml"
        )
    bin_of, used = _bins(sure, bins)
    gaps, sizes = np.zeros((len(names), used)), np.zeros((len(names), used))
    np.add.at(gaps, (place, bin_of), good - sure)
    np.add.at(sizes, (place, bin_of), 1)

    # Groups are the cases here, so that one drawn twice counts as two when variances are taken.
    each, whole = np.arange(len(names)), _gaps(gaps, sizes)

    def estimate(kind: Callable[[_Gaps], Floats]) -> tuple[float, float, float]:
        def debiased(drawn: NDArray[np.int64]) -> float:
            found = _gaps(gaps[drawn], sizes[drawn])
            return float(found.shares @ kind(found))

        found = statistic_by_group(debiased, [each], each, samples, confidence, seed)
        plain = float(whole.shares @ kind(whole._replace(variances=np.zeros(used))))
        about = found.value + plain
        return found.value, about - found.high, max(about - found.low, found.value)

    return {
        **_bounded(np.maximum(estimate(_absolute), 0)),
        "root_mean_square": _bounded(np.sqrt(np.maximum(estimate(_squared), 0))),
        "plain": round(float(whole.shares @ np.abs(whole.means)), 4),
        "cases": len(sure),
        "groups": len(names),
        "bins": used,
    }


def reliability(confidences: ArrayLike, right: ArrayLike, bins: int) -> list[Bin]:
    """Give the bins of equal mass that the calibration error is taken over, the least sure first."""
    sure, good = (np.asarray(each, dtype=np.float64) for each in (confidences, right))
    bin_of, used = _bins(sure, bins)
    parts = [bin_of == place for place in range(used)]
    return [
        Bin(float(sure[part].mean()), float(good[part].mean()), int(part.sum()))
        for part in parts
        if part.any()
    ]


def plot_reliability(before: Sequence[Bin], after: Sequence[Bin]) -> bytes:
    """Draw how often answers of each confidence are right, before and after calibration; a PNG."""
    made, axes = new_figure(6, 6)
    axes.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--", label="as it should be")
    for name, bins, colour in (("before", before, "tab:orange"), ("after", after, "tab:blue")):
        where = [each.confidence for each in bins], [each.right for each in bins]
        axes.plot(*where, marker="o", color=colour, label=name)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_aspect("equal")
    axes.set_xlabel("said: mean confidence of a bin")
    axes.set_ylabel("found: share of it that is right")
    cases = sum(each.cases for each in after)
    axes.set_title(f"Confidence before and after one temperature: {cases:,} photos")
    axes.legend(loc="upper left")
    return to_png(made)


def _bins(confidences: Floats, bins: int) -> tuple[NDArray[np.int64], int]:
    """Give the bin of each case, and how many there are; bins differ in size by one at most."""
    cases = len(confidences)
    used = max(1, min(bins, cases // CASES_PER_BIN))
    bin_of = np.empty(cases, dtype=np.int64)
    bin_of[np.argsort(confidences, kind="stable")] = np.arange(cases) * used // max(cases, 1)
    return bin_of, used


class _Gaps(NamedTuple):
    means: Floats
    variances: Floats
    shares: Floats


def _gaps(sums: Floats, sizes: Floats) -> _Gaps:
    """Give each bin's gap, the variance of that over groups, and its share of the cases.

    Args:
        sums: (groups, bins), of right - confidence.
        sizes: (groups, bins), cases.
    """
    cases = sizes.sum(axis=0)
    filled = np.maximum(cases, 1)
    means = sums.sum(axis=0) / filled
    there = (sizes > 0).sum(axis=0)
    spread = ((sums - means * sizes) ** 2).sum(axis=0) / filled**2
    return _Gaps(means, spread * there / np.maximum(there - 1, 1), cases / cases.sum())


def _squared(found: _Gaps) -> Floats:
    return found.means**2 - found.variances


def _absolute(found: _Gaps) -> Floats:
    """Absolute gaps, less what normal noise about them would add (mean of the folded normal)."""
    from scipy.special import erf

    plain, noise = np.abs(found.means), np.sqrt(found.variances)
    ratio = plain / np.maximum(noise, EPSILON)
    folded = noise * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + plain * erf(ratio / 2**0.5)
    less: Floats = 2 * plain - folded
    return less


def _bounded(estimate: Floats) -> dict[str, float]:
    value, low, high = (round(float(each), 4) for each in estimate)
    return {"value": value, "low": low, "high": high}
