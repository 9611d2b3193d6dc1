"""Metrics as lines for a terminal or a log."""

import logging
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)

Metric = Mapping[str, Any] | float | None
"""An estimate (``value``, ``low``, ``high``), a plain number, or None if there is no case."""


def log_metrics(
    title: str,
    rows: Mapping[str, Mapping[str, Metric]],
    gains: Mapping[str, Mapping[str, Metric]] | None = None,
) -> None:
    """Log the lines of :func:`format_metrics`."""
    for line in format_metrics(title, rows, gains):
        logger.info("%s", line)


def format_metrics(
    title: str,
    rows: Mapping[str, Mapping[str, Metric]],
    gains: Mapping[str, Mapping[str, Metric]] | None = None,
) -> list[str]:
    """Format metrics as a title and one indented line per row.

    Args:
        title: the first line.
        rows: metrics by row and label.
        gains: differences by row and label; they follow the rows and carry a sign.

    Returns:
        The lines.
    """
    lines = [title]
    for part, sign in ((rows, ""), (gains or {}, "+")):
        for name, metrics in part.items():
            values = (f"{label} {format_estimate(value, sign)}" for label, value in metrics.items())
            lines.append(f"  {name}: {', '.join(values)}")
    return lines


def format_estimate(estimate: Metric, sign: str = "") -> str:
    """Format an estimate as ``value [low, high]``.

    Args:
        estimate: an estimate, a number, or None.
        sign: ``+`` to write the sign of positive numbers too.

    Returns:
        The text; ``none`` for None.
    """
    if estimate is None:
        return "none"
    if not isinstance(estimate, Mapping):
        return f"{estimate:{sign}.4f}"
    value, low, high = (f"{estimate[name]:{sign}.3f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
