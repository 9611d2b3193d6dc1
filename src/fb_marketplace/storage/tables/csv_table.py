"""Reading of CSV tables, or of their starts: the same code serves runs and checks."""

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fb_marketplace.errors import UserError
from fb_marketplace.storage.filesystem import open_root
from fb_marketplace.storage.tables.csv_options import CSVOptions
from fb_marketplace.storage.tables.csv_rows import (
    SEPARATORS,
    TORN,
    ParsedRows,
    RowFormat,
    detect_format,
    first_records,
    parse_rows,
)
from fb_marketplace.storage.tables.encoding import decode, detect_encoding, is_garbled_utf_8
from fb_marketplace.storage.tables.packing import read_unpacked

if TYPE_CHECKING:
    import pandas as pd

HEAD_BYTES: Final = 256 * 1024
TAIL_BYTES: Final = 128 * 1024

_FIRST_RECORDS: Final = 20
_ALTERNATIVES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    (r'`escapechar: "\\"`', {"escape": "\\"}),
    (
        r'`escapechar: "\\"` and `doublequote: false`',
        {"escape": "\\", "has_doubled_quotes": False},
    ),
    ("`skipinitialspace: true`", {"skips_spaces": True}),
    ("`quoting: 3`", {"quote": ""}),
    ('`quotechar: "\'"`', {"quote": "'"}),
)
"""Settings that read tables with torn lines, and their changes of the dialect."""


class TableHead(NamedTuple):
    """First rows of a table.

    Attributes:
        rows: the complete rows.
        torn: descriptions of the torn lines, by row number.
        is_whole: whether the table has no more rows.
        header_candidates: number and fields of the first records of the file.
        advice: options with which fewer lines are torn, empty if there are none.
        is_garbled: whether the table is valid UTF-8, but another encoding is configured.
    """

    rows: "pd.DataFrame"
    torn: Mapping[int, str] = MappingProxyType({})
    is_whole: bool = True
    header_candidates: Sequence[tuple[int, list[str]]] = ()
    advice: str = ""
    is_garbled: bool = False


@dataclass(frozen=True, slots=True)
class _Source:
    """Text of a table, or of its start.

    Attributes:
        text: the text.
        encoding: the codec of the file.
        is_packed: whether the file is compressed or an archive.
        is_cut: whether the text is only the start.
    """

    text: str
    encoding: str
    is_packed: bool
    is_cut: bool


def read_table(url: str, load_args: Mapping[str, Any]) -> "pd.DataFrame":
    """Read a table like ``pandas.read_csv``, but with torn lines as rows without values.

    The column ``torn_line`` describes them.

    Args:
        url: path or URL of the file.
        load_args: options of ``pandas.read_csv``.

    Raises:
        UserError: an option is not supported, or the file cannot be read with the options.
    """
    options = CSVOptions.from_pandas(load_args)
    rows, format_ = _parse(_read_source(url, options).text, options)
    if rows.problem:
        raise UserError(rows.problem)
    table = _to_frame(rows, format_, options)
    if rows.torn:
        table = _add_torn_lines(table, rows)
    return table if options.max_rows is None else table.head(options.max_rows)


def read_head(url: str, load_args: Mapping[str, Any]) -> TableHead:
    """Read the first rows of a table, as :func:`read_table` does, and check its end if it is not packed.

    Args:
        url: path or URL of the file.
        load_args: options of ``pandas.read_csv``.

    Raises:
        UserError: an option is not supported, or the file cannot be read with the options.
    """
    options = CSVOptions.from_pandas(load_args)
    source = _read_source(url, options, HEAD_BYTES)
    format_ = detect_format(source.text, options)
    rows = parse_rows(source.text, format_, source.is_cut)
    problem = rows.problem
    if source.is_cut and not source.is_packed:
        tail = _read_tail(url, source.encoding)
        first_row = tail.find(format_.line_end) + 1
        last_rows = parse_rows(tail, replace(format_, start=first_row))
        # Without a complete row, the tail lies within one quoted field.
        problem = last_rows.problem if last_rows.complete else ""
    if problem:
        raise UserError(problem)
    return TableHead(
        _to_frame(rows, format_, options),
        rows.torn,
        not source.is_cut,
        list(_header_candidates(source.text, format_, options)),
        _advise(source, format_, options, rows),
        is_garbled_utf_8(source.text, source.encoding, source.is_cut),
    )


def _parse(text: str, options: CSVOptions) -> tuple[ParsedRows, RowFormat]:
    format_ = detect_format(text, options)
    return parse_rows(text, format_), format_


def _read_source(url: str, options: CSVOptions, limit: int = -1) -> _Source:
    filesystem, path = open_root(url)
    with filesystem.open(path, "rb") as stream:
        data, is_packed = read_unpacked(stream, options.compression, limit + 1 if limit > 0 else -1)
    is_cut = 0 < limit < len(data)
    data = data[:limit] if is_cut else data
    encoding = detect_encoding(data, options.encoding)
    return _Source(decode(data, encoding, options.errors, is_cut), encoding, is_packed, is_cut)


def _read_tail(url: str, encoding: str) -> str:
    filesystem, path = open_root(url)
    size = int(filesystem.info(path)["size"])
    # A multiple of the bytes of a character of UTF-32.
    start = max(0, size - TAIL_BYTES) // 4 * 4
    return decode(filesystem.cat_file(path, start=start, end=size), encoding, "replace")


def _to_frame(rows: ParsedRows, format_: RowFormat, options: CSVOptions) -> "pd.DataFrame":
    import pandas as pd

    dialect = format_.dialect
    arguments: dict[str, Any] = {"quotechar": dialect.quote} if dialect.quote else {}
    try:
        # pandas warns of an extra separator at the end of each row.
        with warnings.catch_warnings(category=pd.errors.ParserWarning, action="ignore"):
            table: pd.DataFrame = pd.read_csv(
                io.BytesIO(rows.data),
                sep=dialect.separator,
                doublequote=dialect.has_doubled_quotes,
                escapechar=dialect.escape or None,
                comment=dialect.comment or None,
                skipinitialspace=dialect.skips_spaces,
                lineterminator=format_.line_end,
                header=None if options.names else 0,
                names=options.names or None,
                # The last column, not the first, is the extra one.
                index_col=False,
                **arguments,
                **options.values,
            )
    except (ValueError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"pandas cannot read the rows: {reason}. Correct `load_args` in catalog_cleaning.yml."
        ) from error
    if len(table) != rows.complete:
        raise AssertionError(f"{rows.complete} complete rows, but pandas has read {len(table)}")
    return table


def _add_torn_lines(table: "pd.DataFrame", rows: ParsedRows) -> "pd.DataFrame":
    """Return the table with a row for each torn line. Its texts are empty, other values are missing."""
    texts = table.select_dtypes(["object", "str"]).columns
    # Nullable types: integers stay exact in a column with missing values.
    table = table.astype(dict(table.drop(columns=texts).convert_dtypes().dtypes))
    table.index = list(rows.complete_numbers())
    table = table.reindex(range(rows.total))
    table.loc[list(rows.torn), texts] = ""
    return table.assign(**{TORN: [rows.torn.get(number, "") for number in range(rows.total)]})


def _header_candidates(
    text: str, format_: RowFormat, options: CSVOptions
) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the fields of each of the first records, for each possible separator."""
    separators = SEPARATORS if options.detects_separator else (format_.dialect.separator,)
    for separator in separators:
        dialect = replace(format_.dialect, separator=separator)
        yield from enumerate(first_records(text, dialect, _FIRST_RECORDS))


def _advise(source: _Source, format_: RowFormat, options: CSVOptions, rows: ParsedRows) -> str:
    """Return the options with which at most a quarter of the torn lines remain, empty if there are none."""
    best, advice = len(rows.torn) // 4, ""
    if not rows.torn:
        return advice
    separators = [(f"`sep: {char!r}`", {"separator": char}) for char in SEPARATORS]
    for names, changes in (*_ALTERNATIVES, *separators):
        dialect = replace(format_.dialect, **changes)
        other = replace(options, dialect=dialect, detects_separator=False, detects_line_end=False)
        try:
            other_format = detect_format(source.text, other)
        except UserError:
            continue
        others = parse_rows(source.text, other_format, source.is_cut)
        is_better = len(others.torn) <= best and others.complete > rows.complete
        if is_better and other_format.fields > 1:
            best, advice = len(others.torn) - 1, names
    for fields in (format_.fields + 1, format_.fields - 1):
        others = parse_rows(source.text, replace(format_, fields=max(1, fields)), source.is_cut)
        if not advice and not rows.complete and not others.torn:
            advice = f"`names` to all {fields} names of columns, and `header: 0`,"
    return advice
