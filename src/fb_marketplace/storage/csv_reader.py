"""The rows of a CSV table as a damaged disk or a careless export leaves it.

A quote too many makes a parser take all rows up to the next one for a field, and a comma too many makes it
give up. Here a line that begins no whole row is torn, and the next line is tried: what is spoiled in one
place costs no row elsewhere.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from fb_marketplace.errors import UserError

TORN: Final = "torn_line"
"""The column of a table that says of a torn line what was found: there where one is torn, else empty."""

MAX_CHARACTERS: Final = 1 << 20
"""In a row; how far a quote that nobody closes is followed."""

FEW: Final = 10
"""One row in so many may hold bytes that are no text; where more do, it is another encoding."""

SHOWN: Final = 60

REPLACEMENT: Final = "\ufffd"
"""Stands for what is no text (Unicode, U+FFFD)."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table is written.

    Attributes:
        separator: between fields.
        quote: around fields that hold a separator, a line end or quotes, which are doubled.
        line_end: between rows; without one, whatever systems write.
    """

    separator: str = ","
    quote: str = '"'
    line_end: str = ""


class RowBatch(NamedTuple):
    """A table, parted into what is whole and what is torn.

    Attributes:
        text: the header and the whole rows, as they are written.
        torn: of each torn line, what was found there, by the number that it has among all rows.
        number: how many rows and torn lines there are below the header.
    """

    text: str
    torn: dict[int, str]
    number: int


def decode(data: bytes, encoding: str) -> str:
    """Decode a table, a replacement character for each byte that is no text.

    Raises:
        UserError: there are so many that it must be written in another encoding.
    """
    text = data.decode(encoding, "replace").removeprefix("\ufeff").replace("\0", REPLACEMENT)
    odd = sum(REPLACEMENT in line for line in text.split("\n"))
    if odd * FEW > text.count("\n"):
        try:
            data.decode(encoding)
        except UnicodeDecodeError as error:
            raise UserError(
                f"found bytes that are no {encoding} in {odd:,} lines ({error.reason} at byte "
                f"{error.start:,}); expected {encoding}: upload it so, or set `encoding` under load_args "
                "in catalog_cleaning.yml"
            ) from error
    return text


def part(text: str, dialect: Dialect) -> RowBatch:
    """Part a table into its whole rows and its torn lines; blank lines are neither.

    A row is whole if it has as many fields as the header, each in quotes or without any at its start
    (RFC 4180). Of rows that a line end within quotes spreads over several lines, each line is torn.

    Raises:
        UserError: it ends in the middle of a row, as if it had not been uploaded to its end.
    """
    ended = text.endswith(_ends(dialect))
    text = text if ended or not text else text + (dialect.line_end or "\n")
    start, fields = _header(text, dialect)
    row = _row(fields, dialect)
    torn: dict[int, str] = {}
    count, whole_from, place = 0, 0, start
    kept = []
    while place < len(text):
        found = row.match(text, place, place + MAX_CHARACTERS)
        if found:
            place = found.end()
        else:
            kept.append(text[whole_from:place])
            begun, place = place, _end_of_line(text, place, dialect)
            whole_from = place
            if not text[begun:place].strip():
                continue
            torn[count] = f"no row of {fields} fields: {text[begun:place].strip()[:SHOWN]!r}"
        count += 1
    if not ended and count - 1 in torn:
        raise UserError(
            f"ends in the middle of a row, after {text[-SHOWN:].strip()!r}; expected {fields} fields and "
            "the end of a line: upload it again"
        )
    return RowBatch("".join((*kept, text[whole_from:])), torn, count)


def _ends(dialect: Dialect) -> str | tuple[str, ...]:
    return dialect.line_end or ("\n", "\r")


def _header(text: str, dialect: Dialect) -> tuple[int, int]:
    """Give where the rows begin, and how many fields the header has."""
    end = _end_of_line(text, 0, dialect)
    written = text[:end].rstrip("\r\n")
    names = next(csv.reader([written], delimiter=dialect.separator, quotechar=dialect.quote), [])
    return end, max(1, len(names))


def _end_of_line(text: str, start: int, dialect: Dialect) -> int:
    end = re.escape(dialect.line_end) if dialect.line_end else r"\r\n?|\n"
    found = re.compile(end).search(text, start)
    return found.end() if found else len(text)


def _row(fields: int, dialect: Dialect) -> re.Pattern[str]:
    separator, quote = re.escape(dialect.separator), re.escape(dialect.quote)
    end = re.escape(dialect.line_end) if dialect.line_end else r"(?:\r\n?|\n)"
    signs = re.escape(dialect.line_end) if dialect.line_end else r"\r\n"
    # Possessive: what is torn is given up at once, not tried in every other way.
    quoted = rf"{quote}(?:[^{quote}]++|{quote}{quote})*+{quote}"
    field = rf"(?:{quoted}|[^{quote}{separator}{signs}][^{separator}{signs}]*+|)"
    return re.compile(rf"{field}(?:{separator}{field}){{{fields - 1}}}{end}")


def places(rows: RowBatch) -> Iterator[int]:
    """Give the numbers of the whole rows, in order."""
    return (number for number in range(rows.number) if number not in rows.torn)
