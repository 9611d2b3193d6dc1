"""What alike listings ask: an interval that is to hold a given share of prices, and does so by calibration.

Prices are taken by their logarithm. An estimate gives each listing a centre and a spread; how many spreads
an interval must reach to either side is read off the listings outside of the test split (normalised split
conformal prediction; Papadopoulos et al., 2008; Lei et al., 2018). Those of the training split serve as
well as validation's, and are eight times as many: nothing is fitted to them, and no listing speaks for
itself or its family. Only the number of neighbours is chosen, on validation; what intervals hold is
measured on test.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.parameters.pricing import PricingParameters
from fb_marketplace.pipelines.pricing.comparable_listings import ComparableListings
from fb_marketplace.pipelines.pricing.formatting import round_outward

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

EPSILON: Final = 1e-9

HALVINGS: Final = 40
"""Of the range in which the reach is searched for: to a millionth of a millionth."""


class PriceEstimate(NamedTuple):
    """What is expected of prices, each float64 (listings,), NaN where nothing is.

    Attributes:
        centre: logarithm of the price.
        spread: how far from it prices lie, up to a common factor; above zero.
    """

    centre: Floats
    spread: Floats


class PriceInterval(NamedTuple):
    """Intervals, each (listings,).

    Attributes:
        low: float64, where the interval begins, in the currency's units; NaN where there is none.
        high: float64, where it ends.
        reach: how many spreads it reaches to either side.
    """

    low: Floats
    high: Floats
    reach: float


class SelectedIntervals(NamedTuple):
    """Intervals by the number of neighbours that makes them narrowest.

    Attributes:
        typical: the intervals.
        listings: int32, (listings,), how many alike listings each is taken from.
        neighbours: how many are looked at, at most.
        tried: mean logarithm of end over beginning on the validation split, by number of neighbours.
    """

    typical: PriceInterval
    listings: NDArray[np.int32]
    neighbours: int
    tried: dict[int, float]


def compute_price_intervals(
    logs: Floats, alike: ComparableListings, splits: NDArray[np.str_], parameters: PricingParameters
) -> SelectedIntervals:
    """Give each listing the interval of what alike listings ask.

    Args:
        logs: (listings,), logarithms of the prices.
        alike: the listings most alike to each, as many as any choice looks at.
        splits: (listings,), where each belongs.
        parameters: of weights and coverage, and the numbers of neighbours to choose from.
    """
    made: dict[int, PriceInterval] = {}
    for neighbours in parameters.neighbors:
        estimate = interval_from_comparables(logs, alike, neighbours, parameters)
        made[neighbours] = calibrate_intervals(
            logs, estimate, splits != "test", parameters.coverage
        )
    tried = {
        neighbours: float(np.nanmean(widths)) if np.isfinite(widths).any() else np.inf
        for neighbours, typical in made.items()
        for widths in [log_widths(typical)[splits == "validation"]]
    }
    best = min(tried, key=lambda neighbours: (tried[neighbours], neighbours))
    counts = (alike.rows[:, :best] >= 0).sum(axis=1).astype(np.int32)
    return SelectedIntervals(made[best], counts, best, tried)


def interval_from_comparables(
    logs: Floats, alike: ComparableListings, neighbours: int, parameters: PricingParameters
) -> PriceEstimate:
    """Take centre and spread from the nearest listings, the nearer the more.

    The centre is the weighted mean of logarithms: on the real listings' validation split it errs less than
    the weighted median. A listing with fewer alike ones than the least number has none.
    """
    rows, nearness = alike.rows[:, :neighbours], alike.nearness[:, :neighbours]
    there = rows >= 0
    enough = there.sum(axis=1) >= parameters.min_neighbors
    apart = np.where(there, nearness - nearness[:, :1], -np.inf).astype(np.float64)
    apart[~enough] = 0.0
    weights = np.exp(apart / parameters.temperature)
    weights /= weights.sum(axis=1, keepdims=True)
    asked = logs[rows]
    centre = (weights * asked).sum(axis=1)
    spread = (weights * np.abs(asked - centre[:, np.newaxis])).sum(axis=1)
    spread += parameters.min_spread
    centre[~enough] = spread[~enough] = np.nan
    return PriceEstimate(centre, spread)


def interval_from_category(
    logs: Floats, markets: NDArray[np.int32], train: Mask, least_spread: float
) -> PriceEstimate:
    """Take centre and spread from all training listings of the market: what any estimate has to beat."""
    centre, spread = np.full(len(logs), np.nan), np.full(len(logs), np.nan)
    for market in np.unique(markets[train]):
        here = markets == market
        asked = logs[here & train]
        centre[here] = asked.mean()
        spread[here] = np.abs(asked - asked.mean()).mean() + least_spread
    return PriceEstimate(centre, spread)


def calibrate_intervals(
    logs: Floats, estimate: PriceEstimate, seen: Mask, coverage: float
) -> PriceInterval:
    """Reach just as far to either side as holds this share of the listings that may be seen.

    They are counted by the intervals as they are shown, rounded outwards: those grow with the reach as
    well, so that what they hold of further listings is promised as ever (nested sets; Gupta et al., 2022).

    Args:
        logs: (listings,), logarithms of the prices.
        estimate: what is expected of them.
        seen: (listings,), those to calibrate by.
        coverage: share of prices that the intervals are to hold.

    Returns:
        Intervals; none where none to calibrate by has an estimate.
    """
    errors = np.abs(logs - estimate.centre) / estimate.spread
    known = seen & np.isfinite(errors)
    some = PriceEstimate(estimate.centre[known], estimate.spread[known])
    prices = np.exp(logs[known])
    # Of one more case than there are; with too few for the share, all of them.
    wanted = min(math.ceil((len(prices) + 1) * coverage), len(prices))
    near, far = 0.0, errors[known].max(initial=np.nan if not len(prices) else 0.0)
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        enough = is_covered(prices, price_interval(some, middle)).sum() >= wanted
        near, far = (near, middle) if enough else (middle, far)
    return price_interval(estimate, float(far))


def price_interval(estimate: PriceEstimate, reach: float) -> PriceInterval:
    """Give the intervals that reach so many spreads to either side, rounded outwards to what is shown."""
    half = reach * estimate.spread
    low, high = round_outward(np.exp(estimate.centre - half), np.exp(estimate.centre + half))
    return PriceInterval(low, high, reach)


def log_widths(typical: PriceInterval) -> Floats:
    """Give the logarithm of end over beginning: float64, (listings,)."""
    return np.log(typical.high) - np.log(typical.low)


def is_covered(prices: Floats, typical: PriceInterval) -> Mask:
    """Say which prices lie within their intervals, both ends included."""
    # A price that came from its logarithm is a hair off.
    return (prices >= typical.low * (1 - EPSILON)) & (prices <= typical.high * (1 + EPSILON))
