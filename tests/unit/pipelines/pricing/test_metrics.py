import json

import numpy as np
import pandas as pd
import pytest

from fb_marketplace.parameters.pricing import PricingParameters
from fb_marketplace.pipelines.pricing.metrics import count_insights, evaluate_price_intervals
from fb_marketplace.pipelines.pricing.price_intervals import PriceInterval, SelectedIntervals
from fb_marketplace_serving.search.listings.price_insights import (
    Insight,
    PhotoElsewhere,
    UnusualPrice,
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


def measured(rows, tried=None):
    """Rows of split, price, and the ends of both intervals; each a group and a category of its own."""
    splits, prices, low, high, one_low, one_high = map(list, zip(*rows, strict=True))
    listed = pd.DataFrame(
        {
            "price": np.float64(prices),
            "category": [f"c{row}" for row in range(len(rows))],
            "group": range(len(rows)),
            "split": splits,
        }
    )
    typical = PriceInterval(np.float64(low), np.float64(high), 1.0)
    chosen = SelectedIntervals(
        typical, np.full(len(rows), 9, np.int32), 5, tried or {5: 1.0, 10: 2.0}
    )
    trivial = PriceInterval(np.float64(one_low), np.float64(one_high), 1.0)
    result = evaluate_price_intervals(listed, chosen, trivial, TOLD)
    json.dumps(result, allow_nan=False)
    return result


def test_coverage_and_width_use_listings_with_both_intervals():
    result = measured(
        [
            ("test", 5, 4, 8, 1, 16),
            ("test", 9, 4, 8, 1, 16),
            ("test", 5, np.nan, np.nan, 6, 8),
            ("test", 5, 4, 8, np.nan, np.nan),
            ("validation", 5, 5, 5, 6, 12),
            ("train", 1, 4, 8, 2, 4),
        ]
    )

    similar, one = (result["intervals"][kind] for kind in ("comparable_listings", "category"))
    assert (similar["test"]["coverage"]["value"], similar["test"]["coverage"]["cases"]) == (0.5, 2)
    assert one["test"]["coverage"]["value"] == 1
    assert similar["test"]["log_width"]["value"] == pytest.approx(np.log(2), abs=1e-4)
    assert one["test"]["log_width"]["value"] == pytest.approx(np.log(16), abs=1e-4)
    assert result["narrower"]["test"]["value"] == pytest.approx(np.log(8), abs=1e-4)
    assert similar["validation"]["coverage"]["value"] == 1
    assert one["validation"]["coverage"]["value"] == 0
    assert result["coverage_by_category"].keys() == {"c0", "c1"}
    assert (result["with_unflagged_price"], result["with_typical_price"]) == (6, 5)


def test_split_without_intervals_is_left_out():
    nothing = (np.nan, np.nan, 1, 2)

    result = measured([("test", 5, *nothing), ("validation", 5, 4, 8, 1, 16)], {5: np.inf})

    assert (
        result["narrower"].keys()
        == result["intervals"]["comparable_listings"].keys()
        == {"validation"}
    )
    assert result["coverage_by_category"] == {}
    assert result["neighbors"]["log_width"] == {"5": None}


def test_insights_and_their_listings_are_counted_by_kind():
    unusual = Insight("unusual_price", "", UnusualPrice(1, 2, 5, ()))
    elsewhere = Insight("photo_elsewhere", "", PhotoElsewhere("q", "i", "j", 1, None, "near"))

    assert count_insights({"a": [unusual, elsewhere, elsewhere], "b": [elsewhere], "c": []}) == {
        "unusual_price": {"insights": 1, "listings": 1},
        "photo_elsewhere": {"insights": 3, "listings": 2},
    }
