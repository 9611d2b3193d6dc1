"""Prices of listings in pounds."""

import math

_COUNTING = (1, 123, 1234, 12345, 123456, 1234567)


def is_joke(amount: float) -> bool:
    """Return whether a price is a joke: 1, digits counting up from 1, or one repeated digit."""
    pounds = int(amount)
    digits = str(pounds)
    return pounds in _COUNTING or (len(digits) >= 3 and len(set(digits)) == 1)


def round_price(amount: float) -> float:
    """Return an asking price: the amount rounded to a step that grows with it.

    Args:
        amount: the value in pounds, above 0.

    Returns:
        Pounds, 2 to 60,000, never a joke price.
    """
    if amount < 8:
        price = max(2.0, round(amount * 2) / 2)
    else:
        step = 1 if amount < 20 else 5 if amount < 200 else 10 if amount < 1_000 else 50
        price = float(step * math.floor(amount / step + 0.5))
    while is_joke(price):
        price += 5
    return min(price, 60_000.0)


def format_price(amount: float) -> str:
    """Return the price as in the raw table: "£1,234.00"."""
    return f"£{amount:,.2f}"
