"""Dates of listings and photos: the spellings that are read, and the dates that are implausible."""

import calendar
import math
import re
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

from fb_marketplace.errors import UserError

EARLIEST: Final = 631_152_000
"""1990-01-01. Earlier dates are placeholders, such as 0001-01-01 and 1970-01-01."""

MAX_AHEAD: Final = 86_400
"""Seconds by which a date may be after the run: a local time without zone may be up to 14 hours ahead."""

_DAY: Final = 86_400
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_MONTHS: Final = (
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
)

_TIME: Final = (
    r"(?P<hour>\d{1,2}):?(?P<minute>\d{2})(?::?(?P<second>\d{2})(?:[.,]\d+)?)?"
    r"\s*(?:Z|UTC|GMT)?\s*(?P<zone>[+-]\d{2}(?::?\d{2})?)?(?:\s*[\[(].*[\])])?"
)
_MONTH: Final = rf"(?P<month>{'|'.join(_MONTHS)})[a-z]*\.?"
_WEEKDAY: Final = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s*)?"
_SPELLINGS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<year>\d{{4}})([-/.])(?P<month>\d{{1,2}})\2(?P<day>\d{{1,2}})(?:[T\s]\s*{_TIME})?",
        rf"(?P<year>(?:19|20)\d\d)(?P<month>\d\d)(?P<day>\d\d)(?:[T\s]?{_TIME})?",
        rf"{_WEEKDAY}(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[\s-]*{_MONTH},?[\s-]*(?P<year>\d{{4}})(?:,?\s{_TIME})?",
        rf"{_WEEKDAY}{_MONTH}\s*(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year>\d{{4}})(?:,?\s{_TIME})?",
    )
)
"""Dates of one meaning only: with the year first, or with the English name of the month."""

_NUMBER: Final = re.compile(r"[+-]?\d{1,25}(\.\d*)?([eE][+-]?\d{1,2})?")
_UNITS: Final = ((10**11, 1), (10**14, 10**3), (10**17, 10**6), (10**20, 10**9))
"""Limits of numbers that are seconds, milliseconds, microseconds and nanoseconds, and units per second. In
each unit, the limit is after the year 5000 and before 1974 in the next smaller unit."""

_MIN_DATED: Final = 0.1

_MIN_VALUES: Final = 10
"""Values that are needed to tell a wrong format from a few bad dates."""


class DateFlag(StrEnum):
    """Reason why a date is treated as unknown."""

    UNREADABLE = "unreadable"
    EARLY = "early"
    FUTURE = "future"


def parse_date(value: str, formats: Sequence[str] = ()) -> int | None:
    """Read a date. Times without zone are UTC; a date without time is its midnight.

    Dates of several meanings, such as 03/04/2022, are only read with a format.

    Args:
        value: ISO 8601, another date with the year first or the month's English name, or the number of
            seconds, milliseconds, microseconds or nanoseconds since 1970.
        formats: formats of ``time.strptime``, tried first.

    Returns:
        Seconds since 1970-01-01 UTC, rounded down; None if the value is no date.
    """
    line = " ".join(value.split())
    for format_ in formats:
        try:
            moment = time.strptime(line, format_)
            return calendar.timegm(moment) - (moment.tm_gmtoff or 0)
        except (ValueError, OverflowError):
            continue
    for spelling in _SPELLINGS:
        if (match := spelling.fullmatch(line)) and (seconds := _seconds(match)) is not None:
            return seconds
    return _from_number(line) if _NUMBER.fullmatch(line) else None


def flag_date(seconds: int, now: float) -> DateFlag | None:
    """Return why a date is implausible; None if it is plausible.

    Args:
        seconds: seconds since 1970.
        now: the time of the run.
    """
    if seconds < EARLIEST:
        return DateFlag.EARLY
    return DateFlag.FUTURE if seconds > now + MAX_AHEAD else None


def check_dates(
    values: Iterable[object],
    column: str,
    formats: Sequence[str],
    missing_values: Collection[str],
    table: str,
) -> None:
    """Check that a column has dates.

    Args:
        values: some values of the column.
        column: its name in the raw table.
        formats: the configured formats.
        missing_values: values that count as missing, in any case.
        table: name of the table.

    Raises:
        UserError: fewer than a tenth of at least ten values are dates.
    """
    missing = {"", *(value.casefold() for value in missing_values)}
    texts = [text for value in values if (text := str(value).strip()).casefold() not in missing]
    unreadable = [text for text in texts if parse_date(text, formats) is None]
    if len(texts) < _MIN_VALUES or len(texts) - len(unreadable) >= _MIN_DATED * len(texts):
        return
    raise UserError(
        f"{len(unreadable):,} of {len(texts):,} values of column {column!r} are not dates, such as "
        f"{unreadable[0][:60]!r}. Set their format, such as `date_formats: ['%d/%m/%Y %H:%M']`, or remove "
        f"`created_at`, for {table} in parameters_cleaning.yml."
    )


def _seconds(match: re.Match[str]) -> int | None:
    parts = match.groupdict()
    name = parts["month"].casefold()
    month = _MONTHS.index(name) + 1 if name in _MONTHS else int(name)
    hour, minute, second = (int(parts[unit] or 0) for unit in ("hour", "minute", "second"))
    # ISO 8601 has 24:00, and clocks have leap seconds.
    if hour * 60 + minute > 24 * 60 or minute > 59 or second > 60:
        return None
    try:
        day = date(int(parts["year"]), month, int(parts["day"])).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    offset = 0
    if zone := parts["zone"]:
        digits = zone[1:].replace(":", "").ljust(4, "0")
        offset = int(f"{zone[0]}1") * (int(digits[:2]) * 3600 + int(digits[2:]) * 60)
    return day * _DAY + hour * 3600 + minute * 60 + second - offset


def _from_number(text: str) -> int | None:
    number = Decimal(text)
    unit = next((unit for limit, unit in _UNITS if abs(number) < limit), None)
    return None if unit is None else math.floor(number / unit)
