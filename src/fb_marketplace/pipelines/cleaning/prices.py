"""Parsing of prices, and flags of prices that are not real offers."""

import math
import re
from decimal import Decimal
from functools import lru_cache
from numbers import Real
from typing import Any, Final

from fb_marketplace.parameters.cleaning import PriceParameters
from fb_marketplace.pipelines.cleaning import text
from fb_marketplace.schemas.reasons import PriceFlag

GROUP_SEPARATORS: Final = ",. '"
"""Usual separators of groups of digits. The decimal separator is none of them."""

THREE_DECIMALS: Final = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])
"""Currencies with a thousandth. In others, 1.234 may mean 1,234."""

_APOSTROPHES: Final = re.compile("[\u2018\u2019\u02bc\u2032\u00b4`]")
_NO_DECIMALS: Final = re.compile(r"\s?[.,:/]\s?[-\u2010-\u2015\u2212]{1,2}$")


class UnparsablePriceError(ValueError):
    """The price field does not contain a price; the message gives the expected format."""


def parse_price(value: Any, parameters: PriceParameters) -> float:
    """Return the amount of a price such as "£1,234.00".

    A number from a typed column is taken by its value. In text, the currency's symbol or code may stand
    on either side. Digits are not grouped, or in threes, or as lakh and crore (12,34,567), by the
    configured separator or another usual one. Grouped digits have at most three decimals. A dash may
    replace the decimals: 12,- or 12:- or 12/-. A word of ``parameters.words``, such as "free", stands for
    its amount.

    Returns:
        The amount; NaN for a word without an amount, such as "POA".

    Raises:
        UnparsablePriceError: the value has another format, is negative, or is ambiguous: 1.234, unless the
            currency has three decimals.
    """
    if isinstance(value, Real | Decimal) and not isinstance(value, bool):
        amount = float(value)
        if 0 <= amount < math.inf:
            return amount
        raise UnparsablePriceError(f"{value} is not a price; expected a finite number from 0")
    line = _APOSTROPHES.sub("'", text.normalize_line(str(value)))
    if line.casefold() in parameters.words:
        worth = parameters.words[line.casefold()]
        return math.nan if worth is None else worth
    decimal = re.escape(parameters.decimal)
    number = _without_currency(line, parameters)
    number = _NO_DECIMALS.sub("", number)
    if not _pattern(parameters.thousands, parameters.decimal).fullmatch(number) or (
        parameters.currency not in THREE_DECIMALS
        and re.fullmatch(rf"[1-9]\d{{0,2}}{decimal}\d{{3}}", number)
    ):
        example = f"{parameters.symbols[0] if parameters.symbols else ''}1{parameters.thousands}234"
        raise UnparsablePriceError(
            f"{str(value)[:60]!r} is not a price; expected a value such as {example}{parameters.decimal}00"
        )
    integer, _, fraction = number.partition(parameters.decimal)
    return float(f"{re.sub('[^0-9]', '', integer)}.{fraction or 0}")


def flag_price(amount: float, parameters: PriceParameters) -> PriceFlag | None:
    """Return the flag of a price that is not a real offer; None for a real one.

    The first matching rule applies:

    - ``missing``: NaN.
    - ``zero``: 0.
    - ``joke``: below ``joke_below``, one of ``joke_amounts``, or one digit repeated at least
      ``joke_repeated_digits`` times, such as 9999.
    - ``absurd``: above ``absurd_above``.
    """
    if math.isnan(amount):
        return PriceFlag.MISSING
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


def _without_currency(line: str, parameters: PriceParameters) -> str:
    """Remove one symbol or code of the currency from each side."""
    names = {text.normalize_line(name) for name in (*parameters.symbols, parameters.currency)}
    currency = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    match = re.fullmatch(rf"(?:{currency})?\s*(.*?)\s*(?:{currency})?", line, re.IGNORECASE)
    return match[1] if match else line


@lru_cache(maxsize=8)
def _pattern(thousands: str, decimal: str) -> re.Pattern[str]:
    """Return the pattern of a number; without a thousands separator, digits may not be grouped."""
    separators = {*GROUP_SEPARATORS, thousands} - {decimal} if thousands else set()
    choice = "|".join(map(re.escape, sorted(separators)))
    grouped = (
        rf"\d{{1,3}}(?P<three>{choice})\d{{3}}(?:(?P=three)\d{{3}}){{0,3}}|"
        rf"\d{{1,2}}(?P<two>{choice})(?:\d{{2}}(?P=two)){{1,4}}\d{{3}}|"
        if choice
        else ""
    )
    point = re.escape(decimal)
    # A column of decimals or floats has more than three decimals in a CSV table.
    return re.compile(
        rf"(?:{grouped}\d{{1,15}})(?:{point}\d{{1,3}})?|\d{{1,15}}{point}\d{{4,20}}", re.ASCII
    )
