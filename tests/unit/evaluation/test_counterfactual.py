"""Counterfactual estimates on simulated clicks, for which the true value of every order is known."""

from functools import cache

import numpy as np
import pytest

from fb_marketplace.evaluation.bootstrap import mean_by_group
from fb_marketplace.evaluation.counterfactual import (
    LoggedListings,
    discounts_by_search,
    estimate_values,
)

LISTINGS, PLACES, SEARCHES, LOGS = 8, 6, 200, 200
EXPOSURE = np.append(1 / np.arange(1, PLACES + 1), np.zeros(LISTINGS - PLACES))
ATTRACTIVE = np.array([0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6])
LOGGING = -ATTRACTIVE
"""Scores of the logging ranker, which shows the least attractive listings first."""


def draw_exposure(random, searches):
    """Exposure of each listing by noisy scores: (searches, listings)."""
    scores = LOGGING + random.normal(scale=0.3, size=(searches, LISTINGS))
    return EXPOSURE[np.argsort(np.argsort(-scores, axis=1), axis=1)]


@cache
def simulate():
    """Searches of all logs: exposure, clicks and propensities, each (rows,)."""
    random = np.random.default_rng(0)
    exposure = draw_exposure(random, SEARCHES * LOGS)
    is_examined = random.random(exposure.shape) < exposure
    clicked = is_examined & (random.random(exposure.shape) < ATTRACTIVE)
    expected = draw_exposure(random, 200_000).mean(axis=0)
    return exposure.ravel(), clicked.ravel(), np.tile(expected, SEARCHES * LOGS)


def value_of(scores):
    rank = np.argsort(np.argsort(-scores))
    return float((ATTRACTIVE / np.log2(rank + 2)).sum())


def search_values(scores, predicted=ATTRACTIVE, min_propensity=0.0):
    """Estimated values by estimator: (logs, searches)."""
    exposure, clicked, propensity = simulate()
    searches = SEARCHES * LOGS
    logged = LoggedListings(
        np.repeat(np.arange(searches), LISTINGS),
        clicked,
        exposure,
        np.maximum(propensity, min_propensity),
        np.tile(predicted, searches),
    )
    values = estimate_values(logged, np.tile(scores, searches))
    return {name: value.reshape(LOGS, SEARCHES) for name, value in values.items()}


def estimates(scores, **settings):
    """Estimated mean value of each log, by estimator: (logs,)."""
    return {name: value.mean(axis=1) for name, value in search_values(scores, **settings).items()}


def standard_errors_off(means, truth):
    return abs(means.mean() - truth) / (means.std() / np.sqrt(len(means)))


@pytest.mark.parametrize("scores", [ATTRACTIVE, LOGGING, np.sin(np.arange(LISTINGS))])
@pytest.mark.parametrize("estimator", ["ips", "doubly_robust"])
def test_estimate_of_simulated_clicks_is_unbiased(scores, estimator):
    assert standard_errors_off(estimates(scores)[estimator], value_of(scores)) < 3


def test_clicks_alone_prefer_the_logged_order():
    better, logged = estimates(ATTRACTIVE)["naive"], estimates(LOGGING)["naive"]

    assert better.mean() / logged.mean() - 1 < 0.5 * (value_of(ATTRACTIVE) / value_of(LOGGING) - 1)
    assert standard_errors_off(better, value_of(ATTRACTIVE)) > 100


def test_doubly_robust_is_unbiased_if_prediction_is_wrong():
    wrong = estimates(ATTRACTIVE, predicted=np.full(LISTINGS, 0.3))["doubly_robust"]

    assert standard_errors_off(wrong, value_of(ATTRACTIVE)) < 3


def test_doubly_robust_has_smaller_variance_than_ips():
    means = estimates(ATTRACTIVE)

    assert means["doubly_robust"].std() < 0.95 * means["ips"].std()


def test_limited_weights_bias_doubly_robust_less_than_ips():
    means = estimates(ATTRACTIVE, min_propensity=0.3, predicted=0.8 * ATTRACTIVE)
    truth = value_of(ATTRACTIVE)

    assert abs(means["doubly_robust"].mean() - truth) < 0.5 * abs(means["ips"].mean() - truth)


def test_bootstrap_interval_covers_true_value():
    intervals = [
        mean_by_group(values, np.arange(SEARCHES), 200, 0.95, 0)
        for values in search_values(ATTRACTIVE)["doubly_robust"]
    ]
    covered = [interval.low <= value_of(ATTRACTIVE) <= interval.high for interval in intervals]

    assert np.mean(covered) >= 0.9


def test_never_shown_listing_counts_as_predicted():
    logged = LoggedListings(
        np.array([0, 0]),
        np.array([True, False]),
        np.array([1.0, 0.0]),
        np.array([1.0, 0.0]),
        np.array([0.2, 0.4]),
    )
    values = estimate_values(logged, np.array([0.0, 1.0]))

    assert values["ips"] == pytest.approx([1 / np.log2(3)])
    assert values["doubly_robust"] == pytest.approx([0.4 + 1 / np.log2(3)])


def test_discounts_start_anew_in_each_search():
    discounts = discounts_by_search(np.array([1, 0, 1]), np.array([0.1, 0.5, 0.9]))

    assert discounts == pytest.approx([1 / np.log2(3), 1, 1])
