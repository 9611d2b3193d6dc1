import numpy as np
import pytest

from fb_marketplace.pipelines.pricing.insights import format_money
from fb_marketplace.pipelines.pricing.price_intervals import round_outward


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        (30.0, "GBP", "£30"),
        (0.5, "GBP", "£0.50"),
        (1234.5, "EUR", "€1,234.50"),
        (20000.0, "CHF", "20,000 CHF"),
        (0.0, "GBP", "free"),
    ],
)
def test_amount_is_formatted_for_buyers(amount, currency, written):
    assert format_money(amount, currency) == written


@pytest.mark.parametrize(
    ("low", "high", "rounded"),
    [
        (11.9, 182.3, (11, 190)),
        (1.237, 9.911, (1.2, 10)),
        (0.129, 0.991, (0.12, 1)),
        (0.004, 0.006, (0.01, 0.01)),
        (120.0, 350.0, (120, 350)),
        (0.29, 0.57, (0.29, 0.57)),
    ],
)
def test_interval_ends_are_rounded_outwards(low, high, rounded):
    result = round_outward(np.array([low]), np.array([high]))

    assert (result[0][0], result[1][0]) == rounded


def test_missing_amount_stays_missing():
    low, high = round_outward(np.array([np.nan, 3.0]), np.array([np.nan, 4.0]))

    assert np.isnan([low[0], high[0]]).all()
    assert (low[1], high[1]) == (3, 4)


def test_rounded_interval_contains_the_original():
    random = np.random.default_rng(0)
    low = np.exp(random.uniform(-3, 10, 5000))
    high = low * np.exp(random.uniform(0, 3, 5000))

    begin, end = round_outward(low, high)

    assert (begin <= low).all()
    assert (end >= high).all()
    assert (begin[low > 0.1] > low[low > 0.1] / 1.11).all()
