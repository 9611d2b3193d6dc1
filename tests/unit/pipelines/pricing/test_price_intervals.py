import numpy as np
import pytest

from fb_marketplace.parameters.pricing import PricingParameters
from fb_marketplace.pipelines.pricing.comparable_listings import (
    ComparableListings,
    Kinds,
    find_comparable_listings,
)
from fb_marketplace.pipelines.pricing.price_intervals import (
    PriceEstimate,
    calibrate_intervals,
    compute_price_intervals,
    interval_from_category,
    interval_from_comparables,
    is_covered,
    log_widths,
)

TOLD = PricingParameters(
    coverage=0.8,
    neighbors=(5, 10),
    temperature=0.1,
    same_path_bonus=0.0,
    min_similarity=0.0,
    min_neighbors=3,
    min_spread=0.2,
    max_evidence=5,
    outlier_factor=2.0,
    max_photo_matches=3,
    bootstrap_samples=50,
    confidence=0.95,
    seed=0,
)


def output(**changes):
    return TOLD.model_copy(update=changes)


def near(rows, nearness):
    return ComparableListings(np.array(rows, np.int32), np.array(nearness, np.float32))


def market(seed, count=1000):
    """Listings on a sphere; price depends on position and varies more on one side."""
    random = np.random.default_rng(seed)
    points = random.normal(size=(count, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    spread = np.where(points[:, 1] > 0, 1.0, 0.2)
    logs = 4 + 2 * points[:, 0] + spread * random.standard_t(4, count)
    alone = np.arange(count, dtype=np.int32)
    kinds = Kinds(np.zeros(count, np.int32), alone, alone)
    similar = find_comparable_listings(points.astype(np.float32), kinds, 10, 0.0, 0.0)
    splits = random.choice(["train", "validation", "test"], count, p=[0.6, 0.2, 0.2])
    return logs, similar, splits, points


def test_intervals_have_nominal_coverage_on_test():
    for coverage in (0.5, 0.8, 0.9):
        shares = []
        for seed in range(10):
            logs, similar, splits, _ = market(seed)
            result = compute_price_intervals(logs, similar, splits, output(coverage=coverage))
            shares.append(is_covered(np.exp(logs), result.intervals)[splits == "test"].mean())

        assert np.mean(shares) == pytest.approx(coverage, abs=0.02)


def test_intervals_are_narrower_than_one_for_all():
    logs, similar, splits, _ = market(0)
    one = interval_from_category(logs, np.zeros(len(logs), np.int32), splits == "train", 0.2)

    result = compute_price_intervals(logs, similar, splits, TOLD).intervals
    trivial = calibrate_intervals(logs, one, splits != "test", 0.8)

    assert log_widths(result).mean() < 0.8 * log_widths(trivial).mean()


def test_intervals_are_wider_if_comparables_disagree():
    logs, similar, splits, points = market(0)

    widths = log_widths(compute_price_intervals(logs, similar, splits, TOLD).intervals)

    assert widths[points[:, 1] > 0.3].mean() > 1.5 * widths[points[:, 1] < -0.3].mean()


def test_test_split_does_not_affect_intervals():
    logs, similar, splits, _ = market(0)
    moved = logs + 5 * (splits == "test")
    # None of the others is alike to one of the test split, so that it can tell by calibration alone.
    separate = near(np.where(splits[similar.rows] == "test", -1, similar.rows), similar.similarity)

    one, other = (compute_price_intervals(item, separate, splits, TOLD) for item in (logs, moved))

    assert one.intervals.reach == other.intervals.reach
    assert one.log_widths == other.log_widths


def test_neighbor_count_has_narrowest_validation_intervals():
    logs, similar, splits, _ = market(1)

    result = compute_price_intervals(logs, similar, splits, TOLD)

    assert result.log_widths.keys() == {5, 10}
    assert result.log_widths[result.neighbors] == min(result.log_widths.values())
    assert result.listings.max() == result.neighbors


def test_center_is_weighted_mean_of_logs():
    logs = np.array([9.0, 1.0, 3.0, 5.0])
    similar = near([[1, 2, 3]] * 4, [[0.9, 0.9, 0.9], [0.9, 0.8, 0.7], [0.9, 0.9, 0.9], [0.9] * 3])

    result = interval_from_comparables(logs, similar, 3, TOLD)

    assert result.center[0] == pytest.approx(3)
    assert result.spread[0] == pytest.approx(4 / 3 + 0.2)
    weights = np.exp([0, -1, -2])
    assert result.center[1] == pytest.approx(weights @ [1, 3, 5] / weights.sum())


def test_listing_with_few_comparables_has_no_interval():
    logs, similar, splits, _ = market(0, 300)
    rows = similar.rows.copy()
    rows[7, 2:] = -1
    rows[8] = -1

    result = compute_price_intervals(logs, near(rows, similar.similarity), splits, TOLD)

    missing = np.flatnonzero(np.isnan(result.intervals.low))
    assert missing.tolist() == np.flatnonzero(np.isnan(result.intervals.high)).tolist() == [7, 8]
    assert result.listings[[7, 8]].tolist() == [2, 0]


def test_no_calibration_listings_give_no_interval():
    logs, similar, splits, _ = market(0, 50)

    result = compute_price_intervals(logs, similar, np.full_like(splits, "test"), TOLD)

    assert np.isnan(result.intervals.low).all()


def test_market_is_of_training_listings():
    logs = np.array([1.0, 3.0, 100.0, 7.0])
    train = np.array([True, True, False, False])

    result = interval_from_category(logs, np.array([0, 0, 0, 1], np.int32), train, 0.5)

    assert result.center[:3].tolist() == [2, 2, 2]
    assert result.spread[:3].tolist() == [1.5] * 3
    assert np.isnan(result.center[3])


def test_interval_bounds_are_inclusive():
    estimate = PriceEstimate(np.log([20.0, 20.0, 20.0]), np.full(3, 1.0))
    prices = np.array([10.0, 40.0, 20.0])

    typical = calibrate_intervals(np.log(prices), estimate, np.full(3, True), 0.99)

    assert (typical.low[0], typical.high[0]) == (10, 40)
    assert is_covered(prices, typical).all()
