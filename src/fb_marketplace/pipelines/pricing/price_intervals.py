"""Price intervals from comparable listings, calibrated to cover a given share of prices.

All computations use logarithms of prices. An estimate gives each listing a center and a spread. An interval
extends the same number of spreads, its reach, to either side of the center. The reach is calibrated on the
listings outside the test split (normalized split conformal prediction; Papadopoulos et al., 2008; Lei et
al., 2018). Training listings are valid for calibration, since nothing is fitted to them and no listing is
comparable to itself or its family. They are eight times as many as validation listings. Only the number of
neighbors is selected, on validation. Coverage is evaluated on test.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.evaluation.conformal import conformal_rank
from fb_marketplace.parameters.pricing import PricingParameters
from fb_marketplace.pipelines.pricing.comparable_listings import ComparableListings

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

EPSILON: Final = 1e-9

MIN_AMOUNT: Final = 0.01
"""Lowest end of an interval, in units of the currency."""

DIGITS: Final = 2
"""Significant digits of an interval's ends. More digits would suggest false precision."""

BISECTIONS: Final = 40
"""Bisection steps to find the reach, to within 1e-12 of its range."""


class PriceEstimate(NamedTuple):
    """Expected prices, each float64, (listings,); NaN if there is no estimate.

    Attributes:
        center: logarithm of the price.
        spread: typical distance of log prices from the center, up to a common factor; above zero.
    """

    center: Floats
    spread: Floats


class PriceInterval(NamedTuple):
    """Price intervals of the listings.

    Attributes:
        low: float64, (listings,), lower end in units of the currency; NaN if there is no interval.
        high: float64, (listings,), upper end.
        reach: number of spreads to either side of the center.
    """

    low: Floats
    high: Floats
    reach: float


class SelectedIntervals(NamedTuple):
    """Intervals from the number of neighbors that makes them narrowest on validation.

    Attributes:
        intervals: one interval per listing.
        listings: int32, (listings,), number of comparable listings behind each interval.
        neighbors: the selected number of neighbors.
        log_widths: mean log width on validation, by number of neighbors.
    """

    intervals: PriceInterval
    listings: NDArray[np.int32]
    neighbors: int
    log_widths: dict[int, float]


def compute_price_intervals(
    logs: Floats,
    comparables: ComparableListings,
    splits: NDArray[np.str_],
    parameters: PricingParameters,
) -> SelectedIntervals:
    """Compute the price interval of each listing from its comparable listings.

    Args:
        logs: float64, (listings,), logarithms of the prices.
        comparables: comparable listings, as many as the largest number of neighbors.
        splits: str, (listings,), split of each listing.
        parameters: weights, coverage, and the numbers of neighbors to select from.
    """
    by_count: dict[int, PriceInterval] = {}
    for neighbors in parameters.neighbors:
        estimate = interval_from_comparables(logs, comparables, neighbors, parameters)
        by_count[neighbors] = calibrate_intervals(
            logs, estimate, splits != "test", parameters.coverage
        )
    mean_widths = {
        neighbors: float(np.nanmean(widths)) if np.isfinite(widths).any() else np.inf
        for neighbors, intervals in by_count.items()
        for widths in [log_widths(intervals)[splits == "validation"]]
    }
    best = min(mean_widths, key=lambda neighbors: (mean_widths[neighbors], neighbors))
    counts = (comparables.rows[:, :best] >= 0).sum(axis=1).astype(np.int32)
    return SelectedIntervals(by_count[best], counts, best, mean_widths)


def interval_from_comparables(
    logs: Floats, comparables: ComparableListings, neighbors: int, parameters: PricingParameters
) -> PriceEstimate:
    """Estimate center and spread from the nearest listings, weighted by similarity.

    The center is the weighted mean of log prices. On the validation split of the real listings, its error
    is lower than that of the weighted median. A listing with fewer than ``min_neighbors`` comparable
    listings has no estimate.
    """
    rows = comparables.rows[:, :neighbors]
    similarity = comparables.similarity[:, :neighbors]
    present = rows >= 0
    enough = present.sum(axis=1) >= parameters.min_neighbors
    logits = np.where(present, similarity - similarity[:, :1], -np.inf).astype(np.float64)
    logits[~enough] = 0.0
    weights = np.exp(logits / parameters.temperature)
    weights /= weights.sum(axis=1, keepdims=True)
    neighbor_logs = logs[rows]
    center = (weights * neighbor_logs).sum(axis=1)
    spread = (weights * np.abs(neighbor_logs - center[:, np.newaxis])).sum(axis=1)
    spread += parameters.min_spread
    center[~enough] = spread[~enough] = np.nan
    return PriceEstimate(center, spread)


def interval_from_category(
    logs: Floats, markets: NDArray[np.int32], train: Mask, min_spread: float
) -> PriceEstimate:
    """Estimate center and spread from all training listings of the market, as a baseline.

    Args:
        logs: float64, (listings,), logarithms of the prices.
        markets: int32, (listings,), category and currency.
        train: bool, (listings,), the training listings.
        min_spread: added to each spread.
    """
    center, spread = np.full(len(logs), np.nan), np.full(len(logs), np.nan)
    for market in np.unique(markets[train]):
        members = markets == market
        prices = logs[members & train]
        center[members] = prices.mean()
        spread[members] = np.abs(prices - prices.mean()).mean() + min_spread
    return PriceEstimate(center, spread)


def calibrate_intervals(
    logs: Floats, estimate: PriceEstimate, calibration: Mask, coverage: float
) -> PriceInterval:
    """Compute the narrowest intervals that cover enough of the calibration listings.

    Coverage is that of the intervals as shown, rounded outward. These also grow with the reach, so the
    guarantee for new listings still holds (nested sets; Gupta et al., 2022).

    Args:
        logs: float64, (listings,), logarithms of the prices.
        estimate: expected prices.
        calibration: bool, (listings,), the listings to calibrate on.
        coverage: share of prices to cover.

    Returns:
        The intervals; all NaN if no calibration listing has an estimate.
    """
    errors = np.abs(logs - estimate.center) / estimate.spread
    known = calibration & np.isfinite(errors)
    sample = PriceEstimate(estimate.center[known], estimate.spread[known])
    prices = np.exp(logs[known])
    rank = conformal_rank(len(prices), coverage)
    low, high = 0.0, errors[known].max(initial=np.nan if not len(prices) else 0.0)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        enough = is_covered(prices, price_interval(sample, middle)).sum() >= rank
        low, high = (low, middle) if enough else (middle, high)
    return price_interval(estimate, float(high))


def price_interval(estimate: PriceEstimate, reach: float) -> PriceInterval:
    """Return intervals that extend ``reach`` spreads to either side, rounded outward as shown."""
    half = reach * estimate.spread
    low, high = round_outward(np.exp(estimate.center - half), np.exp(estimate.center + half))
    return PriceInterval(low, high, reach)


def round_outward(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Round interval ends outward to two significant digits, or to hundredths.

    Args:
        low: float64, (n,), above zero; NaN stays NaN.
        high: float64, (n,), not below ``low``.

    Returns:
        The rounded ``low`` and ``high``, same shapes.
    """
    return np.maximum(_round(low, np.floor), MIN_AMOUNT), _round(high, np.ceil)


def _round(amounts: Floats, rounding: np.ufunc) -> Floats:
    decimals = np.minimum(DIGITS - 1 - np.floor(np.log10(amounts)), 2)
    scaled = amounts * 10.0**decimals
    nearest = np.round(scaled)
    # Floating-point noise must not move an amount that is already round to the next one.
    digits = np.where(np.isclose(scaled, nearest, rtol=1e-9, atol=0), nearest, rounding(scaled))
    rounded: Floats = np.round(digits / 10.0**decimals, 2)
    return rounded


def log_widths(intervals: PriceInterval) -> Floats:
    """Return the logarithm of upper over lower end: float64, (listings,)."""
    return np.log(intervals.high) - np.log(intervals.low)


def is_covered(prices: Floats, intervals: PriceInterval) -> Mask:
    """Return which prices lie in their intervals, ends included: bool, (listings,)."""
    # A price recomputed from its logarithm is off by rounding.
    return (prices >= intervals.low * (1 - EPSILON)) & (prices <= intervals.high * (1 + EPSILON))
