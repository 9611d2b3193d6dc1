"""Checks of raw tables: their columns, their first rows, and whether they are complete."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.cleaning import check_category_separator
from fb_marketplace.schemas.dates import check_dates
from fb_marketplace.storage.tables import csv_table, parquet_table
from fb_marketplace.storage.tables.csv_table import TableHead

_MAX_COLUMNS_SHOWN: Final = 30
_GARBLED: Final = (
    "; the first rows are also valid UTF-8. If texts are garbled, remove `encoding` under load_args in "
    "catalog_cleaning.yml"
)

NO_ROWS: Final = ", no rows"
"""Part of the description of an empty table."""


@dataclass(frozen=True, slots=True)
class RawTable:
    """A table of the bucket that a run will read.

    Attributes:
        name: its catalog entry.
        url: its location.
        format: empty if only its existence is checked.
        load_args: pandas' options for reading it.
        columns: the required columns, from the parameters.
        category_column: column of category paths, empty if there is none.
        category_separator: separator of category paths.
        date_column: column of dates, empty if there is none.
        date_formats: formats of dates.
        missing_values: values that count as missing.
        max_rejected_share: share of rejected rows above which a run stops.
        may_be_empty: whether a table without rows can be used: a market may have no photos.
    """

    name: str
    url: str
    format: Literal["csv", "parquet", ""] = ""
    load_args: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    category_column: str = ""
    category_separator: str = ""
    date_column: str = ""
    date_formats: tuple[str, ...] = ()
    missing_values: tuple[str, ...] = ()
    max_rejected_share: float = 0.5
    may_be_empty: bool = False


def probe_table(table: RawTable, size: int) -> str:
    """Check the first and last bytes of a table.

    Args:
        table: the table and its requirements.
        size: size in bytes.

    Returns:
        A description of the table.

    Raises:
        UserError: the table is empty, lacks a column, is truncated, or cannot be parsed.
    """
    if not table.format:
        return f"{size:,} bytes"
    if not size:
        raise UserError("the file is empty. Upload it again.")
    head = _read_head(table)
    is_empty = head.is_whole and head.rows.empty and not head.torn
    if is_empty and not table.may_be_empty:
        raise UserError("the file has columns but no rows. Upload it again.")
    columns = [str(name) for name in head.rows.columns]
    _check_columns(table, columns, _header_advice(table, head))
    if table.category_column and table.category_column in head.rows:
        check_category_separator(head.rows[table.category_column], table.category_separator)
    no_dates = ""
    if table.date_column in head.rows:
        check_dates(
            head.rows[table.date_column],
            *(table.date_column, table.date_formats, table.missing_values, table.name),
        )
    elif table.date_column:
        no_dates = (
            f"; no dates, since there is no column {table.date_column!r}: set or remove `created_at` for "
            f"{table.name} in parameters_cleaning.yml"
        )
    notes = NO_ROWS if is_empty else ""
    notes += no_dates + (_GARBLED if head.is_garbled else "") + _check_torn_lines(table, head)
    return f"{size:,} bytes, {len(columns)} columns{notes}"


def _read_head(table: RawTable) -> TableHead:
    if table.format == "csv":
        return csv_table.read_head(table.url, table.load_args)
    return TableHead(parquet_table.read_head(table.url, table.load_args, table.columns))


def _check_torn_lines(table: RawTable, head: TableHead) -> str:
    """Return a note on torn lines, empty if there are none.

    Raises:
        UserError: the run would stop because of them, or most of the first lines of a long table are torn.
    """
    if not head.torn:
        return ""
    torn, total = len(head.torn), len(head.rows) + len(head.torn)
    advice = f" Set {head.advice} under load_args in catalog_cleaning.yml." if head.advice else ""
    row, problem = next(iter(head.torn.items()))
    note = f"{torn:,} of the first {total:,} rows cannot be read, such as row {row:,}, {problem}.{advice}"
    limit = table.max_rejected_share if head.is_whole else max(0.5, table.max_rejected_share)
    if torn > limit * total:
        raise UserError(
            f"{note}{'' if advice else ' Upload the file again, or set its format under load_args.'}"
        )
    return f"; {note}"


def _header_advice(table: RawTable, head: TableHead) -> str:
    for number, names in head.header_candidates:
        if number and set(table.columns) <= set(names):
            return f" Record {number + 1} of the file has them: set `header: {number}` under load_args."
    return ""


def _check_columns(table: RawTable, columns: Sequence[str], advice: str = "") -> None:
    missing = [name for name in table.columns if name not in columns]
    if not missing:
        return
    unused = [name for name in columns if name not in table.columns]
    hints = [f" Is {hint}?" for name in missing if (hint := _similar(name, unused))]
    raise UserError(
        f"missing columns: {', '.join(missing)}; found "
        f"{', '.join(map(repr, columns[:_MAX_COLUMNS_SHOWN]))}.{advice}{''.join(hints)} "
        "Set the column names under `cleaning:` in parameters_cleaning.yml, or the format of the file "
        "under load_args in catalog_cleaning.yml."
    )


def _similar(name: str, columns: Iterable[str]) -> str | None:
    by_plain_name = {column.casefold().strip(): column for column in columns}
    close = difflib.get_close_matches(name.casefold(), by_plain_name, n=1, cutoff=0.5)
    return f"'{name}' now {by_plain_name[close[0]]!r}" if close else None
