"""Amounts as a buyer reads them."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

SYMBOLS: Final = {"EUR": "€", "GBP": "£", "JPY": "¥", "USD": "$"}

MIN_AMOUNT: Final = 0.01
"""That can be asked, but for nothing at all."""

DIGITS: Final = 2
"""That tell what is typical; more would say what is not known."""


def format_money(amount: float, currency: str) -> str:
    """Write an amount, such as £1,234.50; without decimals where there are none.

    Args:
        amount: in units of the currency.
        currency: ISO 4217. One without a symbol of its own here stands behind the amount.
    """
    if amount == 0:
        return "free"
    written = f"{amount:,.2f}".removesuffix(".00")
    symbol = SYMBOLS.get(currency)
    return f"{symbol}{written}" if symbol else f"{written} {currency}"


def round_outward(
    low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Round intervals to two digits that tell, or hundredths, outwards, so that they hold what they held.

    Args:
        low: (n,), above zero; NaN stays.
        high: (n,), not below.
    """
    return np.maximum(_rounded(low, np.floor), MIN_AMOUNT), _rounded(high, np.ceil)


def _rounded(amounts: NDArray[np.float64], rounding: np.ufunc) -> NDArray[np.float64]:
    places = np.minimum(DIGITS - 1 - np.floor(np.log10(amounts)), 2)
    scaled = amounts * 10.0**places
    near = np.round(scaled)
    # What is round already has no binary dust to be rounded away from.
    whole = np.where(np.isclose(scaled, near, rtol=1e-9, atol=0), near, rounding(scaled))
    found: NDArray[np.float64] = np.round(whole / 10.0**places, 2)
    return found
