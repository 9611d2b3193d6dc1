"""Reader of CSV tables that a damaged disk or a careless export has corrupted in places.

An extra quote makes an ordinary parser read all rows up to the next quote as one field, and an extra comma
makes it stop. This reader reports a line that does not start a complete row as torn, and continues on the
next line. Damage in one place therefore costs no rows elsewhere.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from fb_marketplace.errors import UserError

TORN: Final = "torn_line"
"""Column with the text of torn lines. A table has it only if a line is torn; it is empty for other rows."""

MAX_ROW_CHARS: Final = 1 << 20
"""Maximum length of a row. It limits how far the reader follows an unclosed quote."""

MAX_UNDECODABLE: Final = 10
"""The encoding is wrong if more than one line in this many has undecodable bytes."""

REPLACEMENT: Final = "\ufffd"
"""Replaces undecodable bytes (Unicode, U+FFFD)."""

_SHOWN_CHARS: Final = 60
_MIN_TAIL_ROWS: Final = 3
_SENTINEL: Final = "the line after"


@dataclass(frozen=True, slots=True)
class Dialect:
    """Format of a CSV table.

    Attributes:
        separator: between fields.
        quote: around fields with a separator, a line end or a quote; quotes in them are doubled.
        line_end: between rows; empty for any usual line end.
    """

    separator: str = ","
    quote: str = '"'
    line_end: str = ""

    @classmethod
    def of_pandas(cls, load_args: Mapping[str, Any]) -> Self:
        """Return the dialect that arguments of ``pandas.read_csv`` describe."""
        return cls(
            load_args.get("sep") or load_args.get("delimiter") or ",",
            load_args.get("quotechar") or '"',
            load_args.get("lineterminator") or "",
        )

    @property
    def line_ends(self) -> str | tuple[str, ...]:
        """The possible ends of a line."""
        return self.line_end or ("\n", "\r")


class ParsedRows(NamedTuple):
    """Rows of a table, complete and torn.

    Attributes:
        text: the header and the complete rows, as in the file.
        torn: description of each torn line, by row number (from 0, torn lines included).
        total: number of complete rows and torn lines, without the header.
    """

    text: str
    torn: dict[int, str]
    total: int


def decode(data: bytes, encoding: str) -> str:
    """Decode a table, with a replacement character for each undecodable byte.

    Raises:
        UserError: so many bytes are undecodable that the table must have another encoding.
    """
    text = data.decode(encoding, "replace").removeprefix("\ufeff").replace("\0", REPLACEMENT)
    damaged = sum(REPLACEMENT in line for line in text.split("\n"))
    if damaged * MAX_UNDECODABLE > text.count("\n"):
        try:
            data.decode(encoding)
        except UnicodeDecodeError as error:
            raise UserError(
                f"The encoding is not {encoding}: {damaged:,} lines cannot be decoded "
                f"({error.reason} at byte {error.start:,}). Save the table as {encoding}, or set "
                "`encoding` under load_args in catalog_cleaning.yml."
            ) from error
    return text


def parse_rows(text: str, dialect: Dialect) -> ParsedRows:
    """Separate the complete rows of a table from its torn lines. Blank lines are ignored.

    A complete row has as many fields as the header. Each field is quoted, or does not start with a quote
    (RFC 4180). If a damaged row spans several lines, each of these lines is torn.

    Raises:
        UserError: the table ends in the middle of a row, as after an interrupted upload.
    """
    has_end = text.endswith(dialect.line_ends)
    text = text if has_end or not text else text + (dialect.line_end or "\n")
    position, fields = _header(text, dialect)
    row = _row_pattern(fields, dialect)
    torn: dict[int, str] = {}
    count, chunk_start = 0, 0
    chunks = []
    while position < len(text):
        match = row.match(text, position, position + MAX_ROW_CHARS)
        if match:
            position = match.end()
        else:
            chunks.append(text[chunk_start:position])
            line_start, position = position, _line_end(text, position, dialect)
            chunk_start = position
            line = text[line_start:position].strip()
            if not line:
                continue
            torn[count] = f"not a row of {fields} fields: {line[:_SHOWN_CHARS]!r}"
        count += 1
    if not has_end and count - 1 in torn:
        raise UserError(
            f"The table is truncated: its last row ends with {text[-_SHOWN_CHARS:].strip()!r}; expected "
            f"{fields} fields and a newline. Upload it again."
        )
    return ParsedRows("".join((*chunks, text[chunk_start:])), torn, count)


def complete_rows(rows: ParsedRows) -> Iterator[int]:
    """Yield the numbers of the complete rows, in order."""
    return (number for number in range(rows.total) if number not in rows.torn)


def describe_cut(tail: str, fields: int, dialect: Dialect, from_start: bool) -> str | None:
    """Describe where a table without a final newline was truncated; None if it may be complete.

    An interrupted upload can end anywhere. A writer that omits the final line end still writes all fields
    of the last row. A cut within the last field looks the same. It is detected only if the field is empty,
    or if it is shorter than in all other rows and those have equal lengths, such as ids and dates.

    Args:
        tail: the last lines of the table; the first may be incomplete.
        fields: the number of fields in a row.
        dialect: the format of the table.
        from_start: whether the tail is the whole table.
    """
    if from_start:
        readings = [_split(tail, dialect)]
    else:
        # The tail may start inside quotes. Parse it both ways, and use the result with more complete rows.
        rest = tail.partition("\n")[2]
        readings = [_split(rest, dialect), _split(dialect.quote + rest, dialect)]
    rows = max(readings, key=lambda reading: sum(len(row) == fields for row in reading))
    if rows[-1] != [_SENTINEL]:
        return "within a quoted field"
    *others, last = rows[:-1]
    if len(last) < fields:
        return f"in a row with {len(last)} of {fields} fields"
    if not last[-1].strip():
        return "before a row's last field"
    lengths = {len(row[-1]) for row in others[1:] if len(row) == fields}
    if len(others) > _MIN_TAIL_ROWS and len(lengths) == 1:
        (usual,) = lengths
        if len(last[-1]) < usual:
            return f"in a field of {len(last[-1])} characters, while all others have {usual}"
    return None


def _split(text: str, dialect: Dialect) -> list[list[str]]:
    # Descriptions contain bare carriage returns, which `csv` reads as line ends.
    lines = [*text.replace("\r", " ").split("\n"), _SENTINEL]
    reader = csv.reader(
        (f"{line}\n" for line in lines), delimiter=dialect.separator, quotechar=dialect.quote
    )
    return [row for row in reader if row]


def _header(text: str, dialect: Dialect) -> tuple[int, int]:
    """Return the position of the first row, and the number of fields in the header."""
    end = _line_end(text, 0, dialect)
    header = text[:end].rstrip("\r\n")
    names = next(csv.reader([header], delimiter=dialect.separator, quotechar=dialect.quote), [])
    return end, max(1, len(names))


def _line_end(text: str, start: int, dialect: Dialect) -> int:
    end = re.escape(dialect.line_end) if dialect.line_end else r"\r\n?|\n"
    match = re.compile(end).search(text, start)
    return match.end() if match else len(text)


def _row_pattern(fields: int, dialect: Dialect) -> re.Pattern[str]:
    separator, quote = re.escape(dialect.separator), re.escape(dialect.quote)
    end = re.escape(dialect.line_end) if dialect.line_end else r"(?:\r\n?|\n)"
    signs = re.escape(dialect.line_end) if dialect.line_end else r"\r\n"
    # Possessive quantifiers: a torn line fails immediately, without backtracking.
    quoted = rf"{quote}(?:[^{quote}]++|{quote}{quote})*+{quote}"
    field = rf"(?:{quoted}|[^{quote}{separator}{signs}][^{separator}{signs}]*+|)"
    return re.compile(rf"{field}(?:{separator}{field}){{{fields - 1}}}{end}")
