"""How well typical prices hold and how narrow they are, beside one interval a category; how many notes."""

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
from fb_marketplace_serving.search.price_insights import PHOTO_ELSEWHERE, UNUSUAL_PRICE, Insight

COMPARABLES: Final = "alike_listings"
CATEGORY: Final = "one_interval_a_category"


def evaluate_price_intervals(
    listed: pd.DataFrame,
    chosen: SelectedIntervals,
    trivial: PriceInterval,
    parameters: PricingParameters,
) -> dict[str, Any]:
    """Measure intervals on validation, which is of what they were calibrated by, and on test.

    Both kinds of intervals are measured on the listings that have both.

    Args:
        listed: listings whose price is meant: ``price``, ``category``, ``group`` and ``split``.
        chosen: what alike listings ask.
        trivial: one interval a category, made and calibrated in the same way.
        parameters: of the bootstrap.

    Returns:
        ``nominal``, the coverage that was asked for; ``neighbours``: the number ``chosen``, and the mean
        ``log_width`` of each choice on validation; ``with_meant_price`` and ``with_typical_price``, numbers
        of listings; ``intervals``: by kind and split ``coverage`` and ``log_width``, the logarithm of end
        over beginning; ``narrower``: by split, by how much that of alike listings is less; and
        ``coverage_by_category`` of alike listings, on test. A split without such a listing is left out.
    """
    kinds = {COMPARABLES: chosen.typical, CATEGORY: trivial}
    prices = listed["price"].to_numpy(np.float64)
    widths = {kind: log_widths(typical) for kind, typical in kinds.items()}
    both = np.isfinite(widths[COMPARABLES]) & np.isfinite(widths[CATEGORY])
    parts = {split: both & (listed["split"] == split).to_numpy() for split in EVALUATION_SPLITS}
    parts = {split: part for split, part in parts.items() if part.any()}

    def estimated(values: NDArray[Any], part: NDArray[np.bool_]) -> dict[str, Any]:
        return mean_by_group(
            values[part],
            listed["group"].to_numpy()[part],
            parameters.bootstrap_samples,
            parameters.confidence,
            parameters.seed,
        ).to_dict()

    categories = listed["category"].to_numpy()
    test = parts.get("test", np.zeros(len(listed), np.bool_))
    return {
        "nominal": parameters.coverage,
        "neighbours": {
            "chosen": chosen.neighbours,
            "log_width": {
                str(count): round(width, 4) if np.isfinite(width) else None
                for count, width in chosen.tried.items()
            },
        },
        "with_meant_price": len(listed),
        "with_typical_price": int(np.isfinite(widths[COMPARABLES]).sum()),
        "intervals": {
            kind: {
                split: {
                    "coverage": estimated(is_covered(prices, typical), part),
                    "log_width": estimated(widths[kind], part),
                }
                for split, part in parts.items()
            }
            for kind, typical in kinds.items()
        },
        "narrower": {
            split: estimated(widths[CATEGORY] - widths[COMPARABLES], part)
            for split, part in parts.items()
        },
        "coverage_by_category": {
            category: estimated(is_covered(prices, chosen.typical), test & (categories == category))
            for category in sorted(set(categories[test]))
        },
    }


def count_insights(notes: Mapping[str, Sequence[Insight]]) -> dict[str, Any]:
    """Count notes by kind, and the listings that have any of it."""
    kinds = [[note.kind for note in each] for each in notes.values()]
    return {
        kind: {
            "notes": sum(each.count(kind) for each in kinds),
            "listings": sum(kind in each for each in kinds),
        }
        for kind in (UNUSUAL_PRICE, PHOTO_ELSEWHERE)
    }
