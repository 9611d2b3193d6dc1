"""What a run says of its own quality: a few lines for a terminal or a log."""

import logging
from typing import Any, Final

logger = logging.getLogger(__name__)

ROWS: Final = {
    "photos": "photos",
    "products": "products, by their photos",
    "products_with_text": "products, photos and text",
}


def log_vision_metrics(vision_metrics: dict[str, Any]) -> None:
    """Log the lines of :func:`lines` for the test split."""
    for line in lines(vision_metrics["test"]):
        logger.info("%s", line)


def lines(measured: dict[str, Any]) -> list[str]:
    """Tell the measures of a split, each with its interval, its count and what it has to beat."""
    told = [
        "test split: top-1 [interval] of cases; gain over a linear layer on the frozen backbone"
    ]
    for of, name in ROWS.items():
        found, gain = measured[f"{of}_top1"], measured[f"{of}_top1_gain_over_frozen"]
        always = measured[f"{of}_top1_commonest_category"]["value"]
        told.append(
            f"{name:26} {_estimate(found)} of {found['cases']:,}; gain {_estimate(gain, '+')}; "
            f"always the commonest {always:.3f}"
        )
    before, after = measured["photos_ece_uncalibrated"], measured["photos_ece"]
    told.append(
        f"calibration error of photos {_estimate(after)}, debiased; {before['value']:.3f} before"
    )
    told += [_abstention(ROWS[of], found) for of, found in measured["abstention"].items()]
    return told


def _abstention(name: str, found: dict[str, Any]) -> str:
    if not found["error"]:
        return f"{name}: no answer is sure enough"
    return (
        f"{name}: answers {_estimate(found['coverage'])}, of which wrong "
        f"{_estimate(found['error'])}; of all {found['error_of_all']['value']:.3f}"
    )


def _estimate(found: dict[str, Any], sign: str = "") -> str:
    return f"{found['value']:{sign}.3f} [{found['low']:{sign}.3f}, {found['high']:{sign}.3f}]"
