import numpy as np
import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.evaluation import bootstrap
from fb_marketplace.evaluation.bootstrap import (
    Estimate,
    mean_by_group,
    ratio_by_group,
    statistic_by_group,
    statistic_of_sums,
)


def estimate(values, groups, **changes):
    return mean_by_group(
        values, groups, **{"samples": 500, "confidence": 0.95, "seed": 0} | changes
    )


def test_estimate_has_mean_and_counts():
    result = estimate([0, 1, 1, 1], ["a", "a", "b", "c"])

    assert (result.value, result.cases, result.groups) == (0.75, 4, 3)
    assert result.low <= 0.75 <= result.high


def test_grouped_cases_widen_the_interval():
    groups = np.repeat(np.arange(40), 10)
    values = np.repeat(np.random.default_rng(0).integers(0, 2, 40), 10)

    grouped = estimate(values, groups)
    alone = estimate(values, np.arange(400))

    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_interval_has_nominal_coverage():
    random = np.random.default_rng(1)
    existing = 0
    for _ in range(200):
        groups = np.arange(200) // 2
        result = estimate(random.normal(3, 1, 100)[groups], groups, samples=200, confidence=0.9)
        existing += result.low <= 3 <= result.high

    assert existing / 200 == pytest.approx(0.9, abs=0.07)


def test_higher_confidence_widens_the_interval():
    values = np.random.default_rng(0).normal(size=100)
    narrow, wide = (
        estimate(values, np.arange(100), confidence=confidence) for confidence in (0.5, 0.99)
    )

    assert wide.low < narrow.low < narrow.high < wide.high


def test_interval_is_deterministic_for_a_seed():
    values = np.random.default_rng(0).normal(size=50)

    assert estimate(values, np.arange(50)) == estimate(values, np.arange(50))
    assert estimate(values, np.arange(50)) != estimate(values, np.arange(50), seed=1)


def test_constant_values_have_zero_width():
    result = estimate([1, 1, 1], ["a", "b", "b"])

    assert (result.low, result.value, result.high) == (1, 1, 1)


def test_no_cases_are_rejected():
    with pytest.raises(UserError, match="parameters_cleaning"):
        estimate([], [])


def test_estimate_is_json_serializable():
    assert Estimate(np.float64(1 / 3), 0.1, 0.5, 9, 3).to_dict() == {
        "value": 0.3333,
        "low": 0.1,
        "high": 0.5,
        "cases": 9,
        "groups": 3,
    }


def of_median(values, groups, **changes):
    return statistic_by_group(
        np.median, [values], groups, **{"samples": 300, "confidence": 0.95, "seed": 0} | changes
    )


def test_statistic_of_means_equals_mean_interval():
    values = np.random.default_rng(0).normal(size=90)
    groups = np.random.default_rng(1).integers(0, 30, 90)

    result = statistic_by_group(np.mean, [values], groups, 300, 0.95, 4)

    assert result == pytest.approx(mean_by_group(values, groups, 300, 0.95, 4))


def test_statistic_accepts_several_columns():
    truth, answered = np.arange(6.0), np.arange(6.0) + 2
    groups = ["b", "a", "b", "a", "c", "c"]

    result = statistic_by_group(
        lambda *both: np.ptp(both[1] - both[0]), [truth, answered], groups, 50, 0.9, 0
    )

    assert (result.value, result.low, result.high, result.cases, result.groups) == (0, 0, 0, 6, 3)


def test_interval_of_median_has_nominal_coverage():
    random = np.random.default_rng(1)
    existing = 0
    for _ in range(200):
        result = of_median(random.normal(3, 1, 80), np.arange(80), samples=200, confidence=0.9)
        existing += result.low <= 3 <= result.high

    assert existing / 200 == pytest.approx(0.9, abs=0.07)


def test_undefined_draws_are_skipped():
    def spread(values):
        return np.std(values) if len(set(values)) > 1 else np.nan

    result = statistic_by_group(spread, [[1.0, 3.0]], ["a", "b"], 100, 0.95, 0)

    assert (result.low, result.value, result.high) == (1, 1, 1)


def test_undefined_statistic_is_named():
    def spread(values):
        return np.nan

    with pytest.raises(UserError, match=r"spread.*\b2\b"):
        statistic_by_group(spread, [[1.0, 1.0]], ["a", "b"], 10, 0.95, 0)


def test_statistic_of_no_cases_is_rejected():
    with pytest.raises(UserError, match="parameters_cleaning"):
        of_median([], [])


def test_ratio_equals_statistic_of_cases():
    random = np.random.default_rng(0)
    parts, totals, groups = random.integers(0, 2, 90), np.ones(90), random.integers(0, 30, 90)

    result = ratio_by_group(parts, totals, groups, 120, 0.95, 4)

    expected = statistic_by_group(
        lambda *sums: sums[0].sum() / sums[1].sum(), [parts, totals], groups, 120, 0.95, 4
    )
    assert result == pytest.approx(expected)


def test_ratio_of_undefined_draws_skips_them():
    result = ratio_by_group([1, 0], [1, 0], ["a", "b"], 100, 0.95, 0)

    assert (result.low, result.value, result.high) == (1, 1, 1)


def test_undefined_ratio_is_rejected():
    with pytest.raises(UserError, match=r"ratio.*\b2\b"):
        ratio_by_group([0, 0], [0, 0], ["a", "b"], 10, 0.95, 0)


def test_statistic_of_sums_is_deterministic_in_batches(monkeypatch):
    columns, groups = np.random.default_rng(0).normal(size=(90, 3)), np.arange(90) // 3

    def of_sums():
        return statistic_of_sums(lambda sums: sums.prod(axis=1), columns, groups, 30, 0.9, 2)

    complete = of_sums()
    monkeypatch.setattr(bootstrap, "_SAMPLES_PER_BATCH", 7)
    assert of_sums() == pytest.approx(complete)
