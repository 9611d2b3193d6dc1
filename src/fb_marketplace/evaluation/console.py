"""Metrics as text."""

from collections.abc import Mapping
from typing import Any

Metric = Mapping[str, Any] | float | None
"""An estimate (``value``, ``low``, ``high``), a plain number, or None if there is no case."""


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
