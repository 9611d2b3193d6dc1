"""Separation of the complete rows of a CSV table from the lines that a disk or an export has damaged.

An extra quote makes an ordinary parser read all rows up to the next quote as one field, and an extra comma
makes it stop. This reader reports a line that does not start a complete row as torn, and continues on the
next line. Damage in one place therefore costs no rows elsewhere.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Final, NamedTuple

from fb_marketplace.errors import UserError
from fb_marketplace.storage.tables.csv_options import CSVOptions, Dialect

TORN: Final = "torn_line"
"""Column with the text of torn lines. A table has it only if a line is torn; it is empty for other rows."""

MAX_ROW_CHARS: Final = 1 << 20
"""Maximum length of a row. It limits how far the reader follows an unclosed quote."""

MAX_FOLLOWED_CHARS: Final = 1 << 26
"""Length up to which a longer row is skipped as one row, not line by line."""

SEPARATORS: Final = (",", ";", "\t", "|")
"""Separators that are detected."""

SAMPLE_CHARS: Final = 1 << 16
"""Length of the text that shows the format of a table."""

_SHOWN_CHARS: Final = 60
_LAST_ROWS: Final = 50
_MIN_ROWS: Final = 3
_MAX_ESCAPES: Final = 1 << 10
_MAX_HEADER_LINES: Final = 50
_LINE_END: Final = re.compile(r"\r\n?|\n")
_SEPARATOR_LINE: Final = re.compile(r"sep=(.)(?:\r\n?|\n)", re.IGNORECASE)
_SET: Final = "under load_args in catalog_cleaning.yml"


class ParsedRows(NamedTuple):
    """Rows of a table, complete and torn.

    Attributes:
        data: the header and the complete rows, in UTF-8. A line end is a single character.
        torn: description of each torn line, by row number (from 0, torn lines included).
        total: number of complete rows and torn lines.
        problem: why the end of the table seems truncated, as by an interrupted upload; empty if it seems
            complete.
    """

    data: bytes
    torn: dict[int, str]
    total: int
    problem: str = ""

    @property
    def complete(self) -> int:
        """Number of complete rows."""
        return self.total - len(self.torn)

    def complete_numbers(self) -> Iterator[int]:
        """Yield the numbers of the complete rows, in order."""
        return (number for number in range(self.total) if number not in self.torn)


@dataclass(frozen=True)
class RowFormat:
    """Format of the rows of one table.

    Attributes:
        dialect: separators and quotes.
        fields: number of fields in a row.
        header: the header with its line end, empty if the table has none.
        start: position of the first row in the text.
        has_extra_separator: whether a separator ends each row.
    """

    dialect: Dialect
    fields: int
    header: str = ""
    start: int = 0
    has_extra_separator: bool = False

    @property
    def line_end(self) -> str:
        """Line end of the rows in :class:`ParsedRows`."""
        return "\n" if self.dialect.line_end == "\r\n" else self.dialect.line_end

    @property
    def column_names(self) -> list[str]:
        """Fields of the header."""
        return _split(self.header, self.dialect)

    @cached_property
    def row(self) -> re.Pattern[str]:
        """Pattern of a complete row."""
        parts = _patterns(self.dialect)
        # pandas skips blank lines, also in a table with one column.
        start = rf"(?!{parts.blank}{parts.end})" if self.fields == 1 else ""
        extra = parts.separator if self.has_extra_separator else ""
        more = rf"(?:{parts.separator}{parts.field}){{{self.fields - 1}}}"
        return re.compile(
            f"{start}{parts.indent}{parts.field}{more}{extra}{parts.comment}{parts.end}"
        )

    @cached_property
    def unfinished_row(self) -> re.Pattern[str]:
        """Pattern of a row that goes on after the end of the text."""
        parts = _patterns(self.dialect)
        fields = rf"(?:{parts.field}{parts.separator}){{0,{self.fields}}}+"
        return re.compile(rf"{parts.indent}{fields}(?:{parts.open_field})\Z")


class _Patterns:
    """Parts of the patterns of a dialect.

    Possessive quantifiers: a torn line fails immediately, without backtracking.
    """

    def __init__(self, dialect: Dialect) -> None:
        separator, quote = re.escape(dialect.separator), re.escape(dialect.quote)
        escape, comment = re.escape(dialect.escape), re.escape(dialect.comment)
        is_any_line_end = dialect.line_end == "\r\n"
        ends = r"\r\n" if is_any_line_end else re.escape(dialect.line_end)
        # A carriage return that precedes no line feed is text.
        inner = [r"\r(?!\n)"] if is_any_line_end else []
        escaped = [rf"{escape}[\s\S]"] if escape else []
        doubled = [quote * 2] if dialect.has_doubled_quotes else []
        self.end = r"\r?\n" if is_any_line_end else ends
        # pandas skips spaces, but no tabs, before the first field as well.
        self.indent = r"\ *+" if dialect.skips_spaces else ""
        self.separator = separator + self.indent
        self.blank = r"(?:(?!" + separator + r")[ \t])*+"
        self.comment = rf"(?:{comment}{_repeat(ends, inner)})?" if comment else ""
        plain = _repeat(separator + ends + escape + comment, inner + escaped)
        quoted = quote + _repeat(quote + escape, doubled + escaped) if quote else ""
        self.field = rf"(?:{quoted}{quote}{self.blank}|(?!{quote}){plain})" if quote else plain
        self.open_field = rf"{quoted}|{plain}" if quote else plain


@cache
def _patterns(dialect: Dialect) -> _Patterns:
    return _Patterns(dialect)


def _repeat(excluded: str, others: list[str]) -> str:
    """Return the pattern of a text without the excluded characters, but with the others."""
    chars = f"[^{excluded}]*+"
    return f"{chars}(?:(?:{'|'.join(others)}){chars})*+" if others else chars


def detect_format(text: str, options: CSVOptions) -> RowFormat:
    """Return the format of a table: its separator, line end, header and number of fields.

    Args:
        text: the table, or its start.
        options: the configured format.

    Raises:
        UserError: the table is empty, or its format is ambiguous or contradicts the options. The message
            has the option to set.
    """
    dialect, start = options.dialect, 0
    separators: tuple[str, ...] = (dialect.separator,)
    if options.detects_separator:
        line = _SEPARATOR_LINE.match(text)
        separators, start = ((line[1],), line.end()) if line else (SEPARATORS, 0)
        separators = tuple(char for char in separators if char != dialect.line_end)
    if options.detects_line_end:
        dialect = replace(dialect, line_end=_detect_line_end(text, start, dialect.quote))
    sample = text[:SAMPLE_CHARS]
    formats = [
        _detect_fields(sample, start, replace(dialect, separator=separator), options)
        for separator in separators
    ]
    if len(formats) == 1:
        return _checked(formats[0][0], options)
    likely = [(format_, rows) for format_, rows in formats if _is_likely(format_, rows)]
    if len(likely) > 1:
        choices = " or ".join(repr(format_.dialect.separator) for format_, _ in likely)
        raise UserError(f"The separator may be {choices}. Set `sep` {_SET}.")
    format_ = likely[0][0] if likely else max((format_ for format_, _ in formats), key=_fields)
    return _checked(format_, options)


def _fields(format_: RowFormat) -> int:
    return format_.fields


def _is_likely(format_: RowFormat, rows: ParsedRows) -> bool:
    return format_.fields > 1 and rows.complete >= len(rows.torn)


def _checked(format_: RowFormat, options: CSVOptions) -> RowFormat:
    """Return the format.

    Raises:
        UserError: the header cannot be split into fields.
    """
    if not options.names and not format_.column_names:
        raise UserError(
            f"The header cannot be split into fields: {format_.header[:_SHOWN_CHARS]!r}. Correct it, or "
            f"set `header`, `skiprows` or `quotechar` {_SET}."
        )
    return format_


def _detect_line_end(text: str, start: int, quote: str) -> str:
    r"""Return the end of the first line: ``\r``, or ``\r\n`` for both usual ends."""
    is_quoted = False
    for number, match in enumerate(_LINE_END.finditer(text, start)):
        is_quoted ^= bool(quote) and text.count(quote, start, match.start()) % 2 == 1
        start = match.end()
        if not is_quoted or number == _MAX_HEADER_LINES:
            return "\r" if match[0] == "\r" else "\r\n"
    return "\r\n"


def _detect_fields(
    sample: str, start: int, dialect: Dialect, options: CSVOptions
) -> tuple[RowFormat, ParsedRows]:
    """Return the header and the number of fields that fit most rows of a sample, and these rows."""
    for _ in range(options.skipped_lines):
        start = _line_end(sample, start, dialect)
    header, has_header = "", options.header is not None
    for _ in range((options.header or 0) + has_header):
        header, start = _next_record(sample, start, dialect)
    if has_header and not header:
        raise UserError(
            f"The table has no header. Upload it again, or correct `header` and `skiprows` {_SET}."
        )
    names = options.names or _split(header, dialect)
    header = "" if options.names else header
    fields = len(names) or 1
    formats = [
        RowFormat(dialect, fields, header, start),
        RowFormat(dialect, fields, header, start, has_extra_separator=True),
    ]
    if any(names) and not names[-1]:
        shorter = header.rstrip("\r\n").rstrip().removesuffix(dialect.separator)
        formats.append(RowFormat(dialect, fields - 1, shorter + formats[0].line_end, start))
    results = [(format_, _parse_sample(sample, format_)) for format_ in formats]
    # Lines inside of quotes may look like complete rows of another format; the rest is then torn.
    return max(results, key=lambda result: result[1].complete - len(result[1].torn))


def _parse_sample(sample: str, format_: RowFormat) -> ParsedRows:
    return parse_rows(sample, format_, is_cut=len(sample) >= SAMPLE_CHARS)


def _next_record(text: str, start: int, dialect: Dialect) -> tuple[str, int]:
    """Return the next record that is neither blank nor a comment, with its line end, and its end."""
    parts = _patterns(dialect)
    record = re.compile(
        rf"{parts.indent}{parts.field}(?:{parts.separator}{parts.field})*+{parts.comment}{parts.end}"
    )
    while start < len(text):
        match = record.match(text, start, start + MAX_ROW_CHARS)
        end = match.end() if match else _line_end(text, start, dialect)
        line = text[start:end]
        start = end
        if line.strip() and not (dialect.comment and line.startswith(dialect.comment)):
            return line.rstrip("\r\n") + "\n" if dialect.line_end == "\r\n" else line, end
    return "", start


def first_records(text: str, dialect: Dialect, count: int) -> list[list[str]]:
    """Return the fields of the first records of a text, the header among them."""
    records, start = [], 0
    for _ in range(count):
        record, start = _next_record(text, start, dialect)
        records.append(_split(record, dialect))
    return records


def _split(record: str, dialect: Dialect) -> list[str]:
    """Return the fields of a record; empty if it has none, or is torn."""
    parts = _patterns(dialect)
    field, separator = re.compile(parts.field), re.compile(parts.separator)
    fields: list[str] = []
    position = re.compile(parts.blank).match(record).end()  # type: ignore[union-attr]
    while match := field.match(record, position):
        fields.append(_unquoted(match[0], dialect))
        comma = separator.match(record, match.end())
        if comma is None:
            rest = re.compile(f"{parts.comment}(?:{parts.end})?")
            return fields if record and rest.fullmatch(record, match.end()) else []
        position = comma.end()
    return []


def _unquoted(field: str, dialect: Dialect) -> str:
    quote, escape = dialect.quote, dialect.escape
    if quote and field.startswith(quote):
        field = field.rstrip(" \t")[1:-1]
        field = field.replace(quote * 2, quote) if dialect.has_doubled_quotes else field
    return re.sub(rf"{re.escape(escape)}([\s\S])", r"\1", field) if escape else field


def _line_end(text: str, start: int, dialect: Dialect) -> int:
    end = re.compile(_patterns(dialect).end).search(text, start)
    return end.end() if end else len(text)


def parse_rows(text: str, format_: RowFormat, is_cut: bool = False) -> ParsedRows:
    """Separate the complete rows of a table from its torn lines. Blank lines and comments are skipped.

    A complete row has as many fields as the header. Each field is quoted, or does not start with a quote
    (RFC 4180). If a damaged row spans several lines, each of these lines is torn. A row that is too long is
    one torn line.

    Args:
        text: the table.
        format_: the format of its rows.
        is_cut: whether the text is only the start of the table. An unfinished row at its end is ignored.
    """
    dialect, row = format_.dialect, format_.row
    has_end = is_cut or text.endswith(
        ("\n", "\r") if format_.line_end == "\n" else format_.line_end
    )
    text = text if is_cut or text.endswith(format_.line_end) else text + format_.line_end
    is_any_line_end, comment = dialect.line_end == "\r\n", dialect.comment
    escape = dialect.escape
    position = chunk_start = format_.start
    follow_from = count = 0
    torn: dict[int, str] = {}
    chunks = [format_.header.encode()]
    last_rows: deque[tuple[int, int]] = deque(maxlen=_LAST_ROWS)
    while position < len(text):
        start = position
        match = row.match(text, start, start + MAX_ROW_CHARS)
        if match and not (comment and text.startswith(comment, start)):
            position = match.end()
            last_rows.append((start, position))
            count += 1
            if (
                is_any_line_end
                and text[position - 2] == "\r"
                and not (escape and _is_escaped(text, position - 2, escape))
            ):
                chunks += (*_encode(text, chunk_start, position - 2), b"\n")
                chunk_start = position
            continue
        chunks += _encode(text, chunk_start, start)
        is_unfinished = format_.unfinished_row.match(text, start, start + MAX_ROW_CHARS)
        if is_unfinished and is_cut and start + MAX_ROW_CHARS >= len(text):
            chunk_start = len(text)
            break
        match = None
        if is_unfinished and start >= follow_from:
            match = row.match(text, start, start + MAX_FOLLOWED_CHARS)
            follow_from = start + MAX_FOLLOWED_CHARS
        position = chunk_start = match.end() if match else _line_end(text, start, dialect)
        line = text[start:position].strip()
        if match:
            follow_from = position
            problem = f"a row of {position - start:,} characters, the limit is {MAX_ROW_CHARS:,}"
        else:
            problem = f"not a row of {format_.fields} fields"
        if line and not (comment and line.startswith(comment)):
            torn[count] = f"{problem}: {line[:_SHOWN_CHARS]!r}"
            count += 1
    chunks += _encode(text, chunk_start, len(text))
    problem = "" if has_end else _describe_end(text, count - 1 in torn, last_rows, format_)
    return ParsedRows(b"".join(chunks), torn, count, problem)


def _is_escaped(text: str, position: int, escape: str) -> bool:
    before = text[max(0, position - _MAX_ESCAPES) : position]
    return (len(before) - len(before.rstrip(escape))) % 2 == 1


def _encode(text: str, start: int, end: int) -> Iterator[bytes]:
    """Yield a part of a text in UTF-8, in pieces: a text in memory may take four bytes per character."""
    for piece in range(start, end, MAX_ROW_CHARS):
        yield text[piece : min(end, piece + MAX_ROW_CHARS)].encode("utf-8", "replace")


def _describe_end(
    text: str, is_torn: bool, last_rows: Iterable[tuple[int, int]], format_: RowFormat
) -> str:
    """Return the problem of a table without a final line end, empty if it may be complete.

    Some writers omit the final line end, but write all fields of the last row. An upload that was cut
    within the last field looks the same. It is detected only if the field is empty, or if it is shorter
    than in all other rows and those have equal lengths, such as ids and dates.
    """
    problem = f"expected {format_.fields} fields and a newline" if is_torn else ""
    rows = [_split(text[start:end], format_.dialect) for start, end in last_rows]
    *others, field = [row[format_.fields - 1] for row in rows if len(row) >= format_.fields] or [
        "-"
    ]
    if not problem:
        lengths = {len(other) for other in others}
        if not field.strip() and not format_.has_extra_separator:
            problem = "its last field is empty"
        elif len(others) >= _MIN_ROWS and len(lengths) == 1 and len(field) < min(lengths):
            problem = (
                f"its last field has {len(field)} characters, while all others have {min(lengths)}"
            )
    return problem and (
        f"The table is truncated: its last row ends with {text[-_SHOWN_CHARS:].strip()!r}; {problem}. "
        "Upload it again. If the last row is complete, add a newline."
    )
