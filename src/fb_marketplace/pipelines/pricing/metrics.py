"""Coverage and width of price intervals, compared with one interval per category; counts of insights."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.evaluation.bootstrap import mean_by_group
from fb_marketplace.parameters.pricing import PricingParameters
from fb_marketplace.pipelines.pricing.price_intervals import (
    PriceInterval,
    SelectedIntervals,
    is_covered,
    log_widths,
)
from fb_marketplace.schemas.splits import EVALUATION_SPLITS
from fb_marketplace_serving.search.listings.price_insights import (
    PHOTO_ELSEWHERE,
    UNUSUAL_PRICE,
    Insight,
)

COMPARABLES: Final = "comparable_listings"
CATEGORY: Final = "category"


def evaluate_price_intervals(
    listed: pd.DataFrame,
    selected: SelectedIntervals,
    by_category: PriceInterval,
    parameters: PricingParameters,
) -> dict[str, Any]:
    """Evaluate intervals on validation, which is part of the calibration data, and on test.

    Both kinds of intervals are evaluated on the listings that have both.

    Args:
        listed: listings with an unflagged price: ``price``, ``category``, ``group`` and ``split``.
        selected: intervals from comparable listings.
        by_category: one interval per category and currency, calibrated in the same way.
        parameters: coverage, and parameters of the bootstrap.

    Returns:
        ``nominal``: the configured coverage. ``neighbors``: the number ``chosen``, and the mean
        ``log_width`` of each number on validation. ``with_unflagged_price`` and ``with_typical_price``:
        numbers of listings with an unflagged price and with an interval. ``intervals``: by kind and split,
        ``coverage`` and ``log_width``, the logarithm of upper over lower end. ``narrower``: by split, the
        mean ``log_width`` by category minus that from comparable listings. ``coverage_by_category``:
        coverage of intervals from comparable listings on test. A split without listings is left out.
    """
    kinds = {COMPARABLES: selected.intervals, CATEGORY: by_category}
    prices = listed["price"].to_numpy(np.float64)
    widths = {kind: log_widths(intervals) for kind, intervals in kinds.items()}
    both = np.isfinite(widths[COMPARABLES]) & np.isfinite(widths[CATEGORY])
    parts = {split: both & (listed["split"] == split).to_numpy() for split in EVALUATION_SPLITS}
    parts = {split: part for split, part in parts.items() if part.any()}

    def estimate(values: NDArray[Any], part: NDArray[np.bool_]) -> dict[str, Any]:
        return mean_by_group(
            values[part],
            listed["group"].to_numpy()[part],
            parameters.bootstrap_samples,
            parameters.confidence,
            parameters.seed,
        ).to_dict()

    categories = listed["category"].to_numpy()
    test = parts.get("test", np.zeros(len(listed), np.bool_))
    covered = is_covered(prices, selected.intervals)
    return {
        "nominal": parameters.coverage,
        "neighbors": {
            "chosen": selected.neighbors,
            "log_width": {
                str(count): round(width, 4) if np.isfinite(width) else None
                for count, width in selected.log_widths.items()
            },
        },
        "with_unflagged_price": len(listed),
        "with_typical_price": int(np.isfinite(widths[COMPARABLES]).sum()),
        "intervals": {
            kind: {
                split: {
                    "coverage": estimate(is_covered(prices, intervals), part),
                    "log_width": estimate(widths[kind], part),
                }
                for split, part in parts.items()
            }
            for kind, intervals in kinds.items()
        },
        "narrower": {
            split: estimate(widths[CATEGORY] - widths[COMPARABLES], part)
            for split, part in parts.items()
        },
        "coverage_by_category": {
            category: estimate(covered, test & (categories == category))
            for category in sorted(set(categories[test]))
        },
    }


def count_insights(insights: Mapping[str, Sequence[Insight]]) -> dict[str, Any]:
    """Count insights, and the listings with at least one, by kind."""
    kinds = [[insight.kind for insight in listing] for listing in insights.values()]
    return {
        kind: {
            "insights": sum(listing.count(kind) for listing in kinds),
            "listings": sum(kind in listing for listing in kinds),
        }
        for kind in (UNUSUAL_PRICE, PHOTO_ELSEWHERE)
    }
