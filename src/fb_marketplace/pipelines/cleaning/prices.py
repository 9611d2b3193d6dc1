"""Prices: from how they are written to a number, and which of them are not meant."""

import math
import re
from typing import Literal

from fb_marketplace.parameters.cleaning import PriceParameters

PriceFlag = Literal["zero", "joke", "absurd"]


class UnparsablePriceError(ValueError):
    """What stands in the price field is no price; the message says what was expected."""


def parse_price(written: str, parameters: PriceParameters) -> float:
    """Read a price such as "£1,234.00", in units of the currency.

    The symbol may be missing; thousands must be grouped by threes or not at all; at most two decimals.

    Raises:
        UnparsablePriceError: it is written in no such way, or is negative.
    """
    text = written.strip()
    for symbol in parameters.symbols:
        text = text.removeprefix(symbol).removesuffix(symbol).strip()
    if not _pattern(parameters).fullmatch(text):
        example = f"{parameters.symbols[0] if parameters.symbols else ''}1{parameters.thousands}234"
        raise UnparsablePriceError(
            f"{written[:60]!r} is no price; expected such as {example}{parameters.decimal}00"
        )
    digits = text.replace(parameters.thousands, "") if parameters.thousands else text
    return float(digits.replace(parameters.decimal, "."))


def flag_price(amount: float, parameters: PriceParameters) -> PriceFlag | None:
    """Tell whether a price is not meant as one.

    The rule, in this order: nothing asked is ``zero``; less than ``joke_below``, one of the joke
    amounts, or whole pounds that repeat one digit ``joke_repeated_digits`` times or more and nothing
    else, is a ``joke``; more than ``absurd_above`` is ``absurd``.
    """
    if amount == 0:
        return "zero"
    if amount < parameters.joke_below:
        return "joke"
    if math.isclose(amount, round(amount)):
        digits = str(round(amount))
        repeats = len(set(digits)) == 1 and len(digits) >= parameters.joke_repeated_digits
        if repeats or round(amount) in parameters.joke_amounts:
            return "joke"
    return "absurd" if amount > parameters.absurd_above else None


def _pattern(parameters: PriceParameters) -> re.Pattern[str]:
    decimal = re.escape(parameters.decimal)
    grouped = (
        rf"\d{{1,3}}(?:{re.escape(parameters.thousands)}\d{{3}}){{1,4}}|"
        if parameters.thousands
        else ""
    )
    return re.compile(rf"(?:{grouped}\d{{1,15}})(?:{decimal}\d{{1,2}})?", re.ASCII)
