import numpy as np
import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.evaluation.bootstrap import Estimate, mean_by_group, statistic_by_group


def estimate(values, groups, **told):
    return mean_by_group(values, groups, **{"samples": 500, "confidence": 0.95, "seed": 0} | told)


def test_gives_the_mean_with_its_counts():
    found = estimate([0, 1, 1, 1], ["a", "a", "b", "c"])

    assert (found.value, found.cases, found.groups) == (0.75, 4, 3)
    assert found.low <= 0.75 <= found.high


def test_cases_that_come_in_groups_have_a_wider_interval_than_independent_ones():
    groups = np.repeat(np.arange(40), 10)
    values = np.repeat(np.random.default_rng(0).integers(0, 2, 40), 10)

    grouped = estimate(values, groups)
    alone = estimate(values, np.arange(400))

    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        groups = np.arange(200) // 2
        found = estimate(random.normal(3, 1, 100)[groups], groups, samples=200, confidence=0.9)
        held += found.low <= 3 <= found.high

    assert held / 200 == pytest.approx(0.9, abs=0.07)


def test_a_wider_confidence_gives_a_wider_interval():
    values = np.random.default_rng(0).normal(size=100)
    narrow, wide = (
        estimate(values, np.arange(100), confidence=confidence) for confidence in (0.5, 0.99)
    )

    assert wide.low < narrow.low < narrow.high < wide.high


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).normal(size=50)

    assert estimate(values, np.arange(50)) == estimate(values, np.arange(50))
    assert estimate(values, np.arange(50)) != estimate(values, np.arange(50), seed=1)


def test_what_never_varies_has_no_width():
    found = estimate([1, 1, 1], ["a", "b", "b"])

    assert (found.low, found.value, found.high) == (1, 1, 1)


def test_a_mean_of_no_cases_is_an_error():
    with pytest.raises(UserError, match="parameters_cleaning"):
        estimate([], [])


def test_an_estimate_can_be_written_into_a_report():
    assert Estimate(np.float64(1 / 3), 0.1, 0.5, 9, 3).to_dict() == {
        "value": 0.3333,
        "low": 0.1,
        "high": 0.5,
        "cases": 9,
        "groups": 3,
    }


def of_median(values, groups, **told):
    return statistic_by_group(
        np.median, [values], groups, **{"samples": 300, "confidence": 0.95, "seed": 0} | told
    )


def test_a_statistic_of_means_has_the_interval_of_the_mean():
    values = np.random.default_rng(0).normal(size=90)
    groups = np.random.default_rng(1).integers(0, 30, 90)

    found = statistic_by_group(np.mean, [values], groups, 300, 0.95, 4)

    assert found == pytest.approx(mean_by_group(values, groups, 300, 0.95, 4))


def test_a_statistic_takes_columns_side_by_side():
    truth, answered = np.arange(6.0), np.arange(6.0) + 2
    groups = ["b", "a", "b", "a", "c", "c"]

    found = statistic_by_group(
        lambda *both: np.ptp(both[1] - both[0]), [truth, answered], groups, 50, 0.9, 0
    )

    assert (found.value, found.low, found.high, found.cases, found.groups) == (0, 0, 0, 6, 3)


def test_the_interval_of_a_median_holds_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        found = of_median(random.normal(3, 1, 80), np.arange(80), samples=200, confidence=0.9)
        held += found.low <= 3 <= found.high

    assert held / 200 == pytest.approx(0.9, abs=0.07)


def test_draws_on_which_a_statistic_is_not_defined_are_left_out():
    def spread(values):
        return np.std(values) if len(set(values)) > 1 else np.nan

    found = statistic_by_group(spread, [[1.0, 3.0]], ["a", "b"], 100, 0.95, 0)

    assert (found.low, found.value, found.high) == (1, 1, 1)


def test_a_statistic_that_is_not_defined_is_told_by_its_name():
    def spread(values):
        return np.nan

    with pytest.raises(UserError, match=r"spread.*\b2\b"):
        statistic_by_group(spread, [[1.0, 1.0]], ["a", "b"], 10, 0.95, 0)


def test_a_statistic_of_no_cases_is_an_error():
    with pytest.raises(UserError, match="parameters_cleaning"):
        of_median([], [])
