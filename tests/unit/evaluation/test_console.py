import logging

import pytest

from fb_marketplace.evaluation.console import format_estimate, format_metrics, log_metrics

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


def test_format_metrics_signs_only_gains():
    lines = format_metrics(
        "search",
        {"ranker": {"NDCG@10": ESTIMATE, "R@10": ESTIMATE}, "random": {"NDCG@10": 0.1}},
        {"ranker - fusion": {"NDCG@10": ESTIMATE}},
    )

    assert lines == [
        "search",
        "  ranker: NDCG@10 0.500 [0.400, 0.600], R@10 0.500 [0.400, 0.600]",
        "  random: NDCG@10 0.1000",
        "  ranker - fusion: NDCG@10 +0.500 [+0.400, +0.600]",
    ]


def test_log_metrics_logs_a_line_each(caplog):
    with caplog.at_level(logging.INFO):
        log_metrics("test split", {"photos": {"accuracy": 0.5}})

    assert caplog.messages == ["test split", "  photos: accuracy 0.5000"]
