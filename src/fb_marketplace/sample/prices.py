"""What a price says: written in pounds, honest or in jest."""

from __future__ import annotations

import math

_COUNTING = (1, 123, 1234, 12345, 123456, 1234567)
ABSURD_ABOVE = 100_000.0


def is_joke(amount: float) -> bool:
    """Whether a price in pounds is no offer: 1, counting up from 1, or one digit over and over."""
    pounds = int(amount)
    digits = str(pounds)
    return pounds in _COUNTING or (len(digits) >= 3 and len(set(digits)) == 1)


def is_absurd(amount: float) -> bool:
    """Whether a price in pounds is beyond belief, and no joke."""
    return amount > ABSURD_ABOVE and not is_joke(amount)


def round_price(amount: float) -> float:
    """The price that a seller would ask for a thing worth so many pounds.

    Args:
        amount: what it is worth, above 0.

    Returns:
        Pounds, rounded to a step that grows with the amount, at least 2, never a joke.
    """
    if amount < 8:
        asked = max(2.0, round(amount * 2) / 2)
    else:
        step = 1 if amount < 20 else 5 if amount < 200 else 10 if amount < 1_000 else 50
        asked = float(step * math.floor(amount / step + 0.5))
    while is_joke(asked):
        asked += 5
    return min(asked, 60_000.0)


def format_price(amount: float) -> str:
    """The price as the bucket writes it: "£1,234.00"."""
    return f"£{amount:,.2f}"
