"""Prices in a query: "under £50", "50-100", "cheap"."""

import re
from typing import Final, NamedTuple

CURRENCIES: Final = {
    "£": {"GBP"},
    "pound": {"GBP"},
    "pounds": {"GBP"},
    "quid": {"GBP"},
    "gbp": {"GBP"},
    "€": {"EUR"},
    "euro": {"EUR"},
    "euros": {"EUR"},
    "eur": {"EUR"},
    "$": {"USD", "CAD", "AUD", "NZD"},
    "dollars": {"USD", "CAD", "AUD", "NZD"},
    "usd": {"USD"},
}
"""Currencies that a sign or a word may stand for."""

MIN_BARE_MAXIMUM: Final = 10.0
MIN_BARE_MINIMUM: Final = 20.0
"""Smaller amounts without a currency may be ages, sizes or counts ("over 18")."""

BARE_STEP: Final = 5.0
"""A range without a currency is a price if both ends are multiples of this: "50-100", not "18-55"."""

MAX_RATIO: Final = 10
"""Maximum ratio of the ends of a range without a currency."""

YEARS: Final = range(1700, 2100)
"""Both ends of a range of years."""

AROUND: Final = 0.25
"""Relative width of "around £100" on each side."""

_UNITS: Final = (
    r"litres?|liters?|ltrs?|l|ml|cl|mm|cm|m|metres?|meters?|km|miles?|mph|inch(?:es)?|ft|feet|foot|yards?|kgs?|"
    r"g|grams?|lbs?|oz|tonnes?|w|watts?|kw|v|volts?|amps?|m?ah|[mg]?hz|[gtm]b|mp|megapixels?|pixels|dpi|"
    r"pieces?|pcs|packs?|players?|people|persons?|seats?|seaters?|drawers?|days?|weeks?|months?|mths?|years?|"
    r"stones?|rpm|pence|p|times|sheets?|lumens|bar|square|"
    r"yrs?|hours?|hrs?|mins?|minutes?|degrees?|togs?|cc|bhp|hp|gears?|pages?|x|percent"
)
_MEASURES: Final = re.compile(
    r"\b(?:sizes?|age[sd]?|waist|width|height|depth|length|model|no|number|volumes?|vol|issues?|series|"
    r"seasons?|grades?|levels?|stages?|uk|eu|us|kids|children)\s*:?\s*$",
    re.I,
)
"""Words before a number that is not a price."""

_LENSES: Final = re.compile(r"\b(?:lens|lenses|zoom|canon|nikon|sigma|tamron|nikkor)\b", re.I)
"""Words of queries in which a range is a focal length."""


_END: Final = re.compile(r"\s*(?:$|[^\w\s]|(?:in|near|around|within|or|and|for|with)\b)", re.I)
"""Text after a phrase that cannot be a unit."""


def _amount(name: str) -> str:
    return (
        rf"(?P<{name}_sign>[£€$])?\s?(?P<{name}>\d{{1,3}}(?:,\d{{3}})+(?:\.\d{{1,2}})?|\d+(?:\.\d{{1,2}})?)"
        rf"(?P<{name}_thousands>k)?(?:\s?(?P<{name}_word>pounds?|quid|gbp|euros?|eur|dollars|usd)\b)?"
        r"(?![\w%\"″'’°℃/+]|[.,:]\d)"
    )


_LOW, _HIGH, _ANY = _amount("low"), _amount("high"), _amount("amount")
_FOR: Final = r"(?:(?:for|priced?|costing)\s+)?"
_NO_UNIT: Final = rf"(?!\s?-?(?:{_UNITS})\b)"


class _Rule(NamedTuple):
    """A form of price phrases.

    Attributes:
        kind: the bounds that it sets.
        pattern: the form.
        min_bare: minimum of an amount without a currency; None if a currency is required.
        is_counted: whether a word after a bare amount may be its unit: "over 80 balls".
    """

    kind: str
    pattern: re.Pattern[str]
    min_bare: float | None
    is_counted: bool = True


def _rule(kind: str, pattern: str, min_bare: float | None, is_counted: bool = True) -> _Rule:
    compiled = re.compile(rf"(?<![\w£€$.,-]){_FOR}{pattern}{_NO_UNIT}", re.I)
    return _Rule(kind, compiled, min_bare, is_counted)


_RULES: Final = (
    _rule("range", rf"between\s+{_LOW}\s*(?:and|-|–|to)\s*{_HIGH}", MIN_BARE_MAXIMUM),
    _rule("range", rf"from\s+{_LOW}\s*(?:-|–|to)\s*{_HIGH}", None),
    _rule("range", rf"{_LOW}\s?(?:-|–|\bto\b)\s?{_HIGH}", MIN_BARE_MINIMUM),
    # Before "more than" and "less than".
    _rule("maximum", rf"(?:not|no) (?:more than|over|above)\s*{_ANY}", MIN_BARE_MAXIMUM),
    _rule("minimum", rf"(?:not|no) (?:less than|under|below)\s*{_ANY}", MIN_BARE_MINIMUM),
    _rule(
        "maximum",
        rf"(?:under|below|less than|cheaper than|max price|<=?)\s*{_ANY}",
        MIN_BARE_MAXIMUM,
        is_counted=False,
    ),
    _rule("maximum", rf"(?:up to|at most)\s*{_ANY}", MIN_BARE_MAXIMUM),
    _rule("maximum", rf"(?:max(?:imum)?|budget|budget of)\s*:?\s*{_ANY}", None),
    _rule("maximum", rf"{_ANY}\s*(?:max(?:imum)?|or less|or under|tops)\b", None),
    _rule("minimum", rf"(?:above|over|more than|>=?)\s*{_ANY}", MIN_BARE_MINIMUM),
    _rule("minimum", rf"(?:at least|from|min(?:imum)?|starting at)\s*{_ANY}", None),
    _rule("minimum", rf"{_ANY.replace('/+]', '/]')}\s*(?:\+|or more\b|and up\b|plus\b)", None),
    _rule("around", rf"(?:around|about|approx(?:imately)?|roughly|~)\s*{_ANY}", None),
)

_CHEAP: Final = re.compile(r"\b(?:cheap|cheaper|cheapest|inexpensive)\b(?! trick)", re.I)


class PricePhrase(NamedTuple):
    """A price phrase.

    Attributes:
        start: offset of its first character.
        end: offset after its last character.
        min_price: lower bound; None if there is none.
        max_price: upper bound; None if there is none.
        is_cheap: whether the upper bound is the lower quartile of the matches' prices.
    """

    start: int
    end: int
    min_price: float | None = None
    max_price: float | None = None
    is_cheap: bool = False


def find_prices(text: str, currencies: frozenset[str]) -> list[PricePhrase]:
    """Return the price phrases of a text, in order.

    An amount in another currency is not a price that listings could have. An amount without a currency is
    one only if neither a unit nor its context says otherwise.

    Args:
        text: the query.
        currencies: currencies of the listings, ISO 4217.
    """
    phrases: list[PricePhrase] = []
    for rule in _RULES:
        for match in rule.pattern.finditer(text):
            if any(match.start() < other.end and other.start < match.end() for other in phrases):
                continue
            phrase = _to_phrase(rule, match, currencies)
            if phrase is not None:
                phrases.append(phrase)
    if not any(phrase.max_price is not None for phrase in phrases):
        phrases += [PricePhrase(*match.span(), is_cheap=True) for match in _CHEAP.finditer(text)][
            :1
        ]
    return sorted(phrases)


def _to_phrase(rule: _Rule, match: re.Match[str], currencies: frozenset[str]) -> PricePhrase | None:
    groups = match.groupdict()
    names = [name for name in ("low", "high", "amount") if name in groups]
    marks = {groups[f"{name}_{part}"] for name in names for part in ("sign", "word")} - {None}
    if any(not CURRENCIES.get(mark.lower(), set()) & currencies for mark in marks):
        return None
    values = [_number(groups[name], groups[f"{name}_thousands"]) for name in names]
    if not marks and not _is_bare_price(rule, match, values):
        return None
    low, high = values[0], values[-1]
    if rule.kind == "range":
        return PricePhrase(*match.span(), low, high) if low <= high else None
    if rule.kind == "around":
        low, high = low * (1 - AROUND), high * (1 + AROUND)
    return PricePhrase(
        *match.span(),
        low if rule.kind in ("minimum", "around") else None,
        high if rule.kind in ("maximum", "around") else None,
    )


def _is_bare_price(rule: _Rule, match: re.Match[str], values: list[float]) -> bool:
    """Return whether amounts without a currency are a price."""
    before, after = match.string[: match.start()], match.string[match.end() :]
    if rule.min_bare is None or values[-1] < rule.min_bare or _MEASURES.search(before):
        return False
    is_range = rule.kind == "range"
    if rule.is_counted and not _END.match(after) and not (is_range and not before.strip()):
        return False
    if is_range:
        low, high = values
        is_round = not any(value % BARE_STEP for value in values)
        are_years = all(value in YEARS for value in values)
        return (
            is_round
            and not are_years
            and high <= MAX_RATIO * low
            and not _LENSES.search(match.string)
        )
    return True


def _number(digits: str, thousands: str | None) -> float:
    return float(digits.replace(",", "")) * (1000 if thousands else 1)
