import pytest

from fb_marketplace.evaluation.console import format_estimate

ESTIMATE = {"value": 0.5, "low": 0.4, "high": 0.6, "cases": 40, "groups": 20}


@pytest.mark.parametrize(
    ("estimate", "sign", "text"),
    [
        (ESTIMATE, "", "0.500 [0.400, 0.600]"),
        (ESTIMATE, "+", "+0.500 [+0.400, +0.600]"),
        (0.0125, "", "0.0125"),
        (-0.1667, "+", "-0.1667"),
        (None, "", "none"),
    ],
)
def test_format_estimate(estimate, sign, text):
    assert format_estimate(estimate, sign) == text
