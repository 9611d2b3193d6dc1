"""Calibration error, and its reliability diagram before and after calibration."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fb_marketplace.evaluation.bootstrap import MORE_CASES, statistic_of_sums
from fb_marketplace.ml.probabilities import EPSILON, softmax
from fb_marketplace.skipping import InsufficientDataError

Floats = NDArray[np.float64]

CASES_PER_BIN: Final = 5
"""Minimum cases per bin; with fewer cases, there are fewer bins."""


class Bin(NamedTuple):
    """Cases of similar confidence.

    Attributes:
        confidence: mean confidence.
        accuracy: share of correct cases.
        cases: number of cases.
    """

    confidence: float
    accuracy: float
    cases: int


def undo_calibration(probabilities: NDArray[np.floating], temperature: float) -> Floats:
    """Return the probabilities before temperature scaling: float64, (cases, classes)."""
    return softmax(temperature * np.log(np.maximum(probabilities, EPSILON)))


def expected_calibration_error(
    confidences: ArrayLike,
    correct: ArrayLike,
    groups: ArrayLike,
    bins: int,
    samples: int,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    """Compute the expected calibration error over bins of equal mass, debiased.

    The gap of a bin is the mean of (correct - confidence). The error is the mean absolute gap. Sampling
    noise alone creates gaps, so the error is debiased after Kumar, Liang & Ma (2019): each absolute gap is
    reduced by the amount that normal noise of the same variance would add. A small upward bias remains.
    The mean squared gap can be debiased fully (definition 4.2: subtract the variance from each squared
    gap). Its root is reported too; without sampling noise, it is at least the mean gap. The paper uses the
    variance of independent labels. Here the variance is over groups, because photos of a group are not
    independent.

    Intervals are from the basic bootstrap over groups, with fixed bins. It assumes that the debiased error
    of a resample differs from the plain error of the data as the estimate differs from the true error. If
    the true error is near 0, the remaining bias also raises the interval.

    Args:
        confidences: (cases,), probability of the predicted class.
        correct: (cases,), whether the predicted class is the true one.
        groups: (cases,), the group of each case.
        bins: maximum number of bins; fewer if there are fewer than five cases per bin.
        samples: number of bootstrap samples.
        confidence: share of the samples inside the interval.
        seed: seed of the draws.

    Returns:
        ``value``, ``low`` and ``high`` of the debiased error, at least 0; those of the
        ``root_mean_square``; ``plain``, the error without debiasing; ``cases``, ``groups`` and
        ``bins``.

    Raises:
        InsufficientDataError: there are no cases.
    """
    predicted, actual = (np.asarray(values, dtype=np.float64) for values in (confidences, correct))
    names, group_of_case = np.unique(np.asarray(groups), return_inverse=True)
    if not len(predicted):
        raise InsufficientDataError(
            f"cannot compute the calibration error: there are no predictions. {MORE_CASES}"
        )
    bin_of_case, used = _assign_bins(predicted, bins)
    gaps, sizes = np.zeros((len(names), used)), np.zeros((len(names), used))
    np.add.at(gaps, (group_of_case, bin_of_case), actual - predicted)
    np.add.at(sizes, (group_of_case, bin_of_case), 1)

    # The bootstrap draws groups, so that a group drawn twice counts twice in the variances.
    columns = np.hstack([gaps, sizes, gaps**2, gaps * sizes, sizes**2, sizes > 0])
    data = _compute_gaps(columns.sum(axis=0, keepdims=True))

    def estimate(error: Callable[[_Gaps], Floats]) -> tuple[float, float, float]:
        def debiased(sums: Floats) -> Floats:
            sample = _compute_gaps(sums)
            errors: Floats = (sample.shares * error(sample)).sum(axis=1)
            return errors

        result = statistic_of_sums(
            debiased, columns, np.arange(len(names)), samples, confidence, seed
        )
        without_noise = data._replace(variances=np.zeros_like(data.variances))
        plain = float((data.shares * error(without_noise)).sum())
        center = result.value + plain
        return result.value, center - result.high, max(center - result.low, result.value)

    return {
        **_rounded(np.maximum(estimate(_absolute), 0)),
        "root_mean_square": _rounded(np.sqrt(np.maximum(estimate(_squared), 0))),
        "plain": round(float((data.shares * np.abs(data.means)).sum()), 4),
        "cases": len(predicted),
        "groups": len(names),
        "bins": used,
    }


def reliability(confidences: ArrayLike, correct: ArrayLike, bins: int) -> list[Bin]:
    """Return the bins of the calibration error, the least confident first."""
    predicted, actual = (np.asarray(values, dtype=np.float64) for values in (confidences, correct))
    bin_of_case, used = _assign_bins(predicted, bins)
    masks = [bin_of_case == number for number in range(used)]
    return [
        Bin(float(predicted[mask].mean()), float(actual[mask].mean()), int(mask.sum()))
        for mask in masks
        if mask.any()
    ]


def _assign_bins(confidences: Floats, bins: int) -> tuple[NDArray[np.int64], int]:
    """Return the bin of each case, and the number of bins; their sizes differ by one at most."""
    cases = len(confidences)
    used = max(1, min(bins, cases // CASES_PER_BIN))
    bin_of_case = np.empty(cases, dtype=np.int64)
    bin_of_case[np.argsort(confidences, kind="stable")] = np.arange(cases) * used // max(cases, 1)
    return bin_of_case, used


class _Gaps(NamedTuple):
    """The gap of each bin, its variance over groups, and its share of the cases: (samples, bins) each."""

    means: Floats
    variances: Floats
    shares: Floats


def _compute_gaps(sums: Floats) -> _Gaps:
    """Compute the gaps of samples of groups.

    Args:
        sums: float64, (samples, 6 × bins), sums over groups: of the group's sum of correct - confidence, of
            its number of cases, of the square of the first, their product, the square of the second, and
            whether the group has a case.
    """
    gaps, cases, squares, products, squared_sizes, groups = np.split(sums, 6, axis=1)
    filled = np.maximum(cases, 1)
    means = gaps / filled
    squares = np.maximum(squares - 2 * means * products + means**2 * squared_sizes, 0) / filled**2
    return _Gaps(
        means,
        squares * groups / np.maximum(groups - 1, 1),
        cases / cases.sum(axis=1, keepdims=True),
    )


def _squared(gaps: _Gaps) -> Floats:
    return gaps.means**2 - gaps.variances


def _absolute(gaps: _Gaps) -> Floats:
    """Return absolute gaps, less the amount that normal noise adds (mean of the folded normal)."""
    from scipy.special import erf

    plain, noise = np.abs(gaps.means), np.sqrt(gaps.variances)
    ratio = plain / np.maximum(noise, EPSILON)
    folded = noise * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + plain * erf(ratio / 2**0.5)
    debiased: Floats = 2 * plain - folded
    return debiased


def _rounded(estimate: Floats) -> dict[str, float]:
    value, low, high = (round(float(number), 4) for number in estimate)
    return {"value": value, "low": low, "high": high}
