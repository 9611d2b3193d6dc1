"""Parsing of prices, and flags of prices that are not real offers."""

import math
import re

from fb_marketplace.parameters.cleaning import PriceParameters
from fb_marketplace.schemas.reasons import PriceFlag


class UnparsablePriceError(ValueError):
    """The price field does not contain a price; the message gives the expected format."""


def parse_price(value: str, parameters: PriceParameters) -> float:
    """Return the amount of a price such as "£1,234.00".

    The currency symbol is optional. Digits are grouped in threes or not at all. At most two decimals.

    Raises:
        UnparsablePriceError: the value has another format, or is negative.
    """
    text = value.strip()
    for symbol in parameters.symbols:
        text = text.removeprefix(symbol).removesuffix(symbol).strip()
    if not _pattern(parameters).fullmatch(text):
        example = f"{parameters.symbols[0] if parameters.symbols else ''}1{parameters.thousands}234"
        raise UnparsablePriceError(
            f"{value[:60]!r} is not a price; expected a value such as {example}{parameters.decimal}00"
        )
    digits = text.replace(parameters.thousands, "") if parameters.thousands else text
    return float(digits.replace(parameters.decimal, "."))


def flag_price(amount: float, parameters: PriceParameters) -> PriceFlag | None:
    """Return the flag of a price that is not a real offer; None for a real one.

    The first matching rule applies:

    - ``zero``: 0.
    - ``joke``: below ``joke_below``, one of ``joke_amounts``, or one digit repeated at least
      ``joke_repeated_digits`` times, such as 9999.
    - ``absurd``: above ``absurd_above``.
    """
    if amount == 0:
        return PriceFlag.ZERO
    if amount < parameters.joke_below:
        return PriceFlag.JOKE
    if math.isclose(amount, round(amount)):
        digits = str(round(amount))
        repeats = len(set(digits)) == 1 and len(digits) >= parameters.joke_repeated_digits
        if repeats or round(amount) in parameters.joke_amounts:
            return PriceFlag.JOKE
    return PriceFlag.ABSURD if amount > parameters.absurd_above else None


def _pattern(parameters: PriceParameters) -> re.Pattern[str]:
    decimal = re.escape(parameters.decimal)
    grouped = (
        rf"\d{{1,3}}(?:{re.escape(parameters.thousands)}\d{{3}}){{1,4}}|"
        if parameters.thousands
        else ""
    )
    return re.compile(rf"(?:{grouped}\d{{1,15}})(?:{decimal}\d{{1,2}})?", re.ASCII)
