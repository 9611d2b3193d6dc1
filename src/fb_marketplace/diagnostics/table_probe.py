"""Checks of raw tables: the first bytes show the columns, the last bytes whether a table is complete."""

import difflib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from fb_marketplace.errors import UserError
from fb_marketplace.storage import parquet_reader
from fb_marketplace.storage.csv_reader import Dialect, describe_cut
from fb_marketplace_serving.storage.lake import Lake

HEAD_BYTES: Final = 64 * 1024
TAIL_BYTES: Final = 120 * 1024
"""Less than the field size limit of Python's ``csv``, 131,072 characters."""

_COMPRESSED: Final = (".gz", ".bz2", ".xz", ".zip", ".zst", ".tar")
_MAX_COLUMNS_SHOWN: Final = 30


@dataclass(frozen=True, slots=True)
class RawTable:
    """A table of the bucket that a run will read.

    Attributes:
        name: its catalog entry.
        url: its location.
        format: empty if only its existence is checked.
        load_args: pandas' options for reading it.
        columns: the required columns, from the parameters.
    """

    name: str
    url: str
    format: Literal["csv", "parquet", ""] = ""
    load_args: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()

    @property
    def dialect(self) -> Dialect:
        """Dialect of a CSV table."""
        return Dialect.of_pandas(self.load_args)


def probe_table(table: RawTable, folder: Lake, file: str, size: int) -> str:
    """Check the first and last bytes of a table.

    Args:
        table: the table and its requirements.
        folder: folder of the table.
        file: name of the table in the folder.
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
    if table.format == "parquet":
        columns = _parquet_columns(table, folder, file)
    else:
        columns = _csv_columns(table, folder, file)
    _check_columns(table, columns)
    note = ""
    if table.format == "csv" and _has_plain_tail(table):
        note = _check_tail(table, folder, file, size, len(columns))
    return f"{size:,} bytes, {len(columns)} columns{note}"


def _check_tail(table: RawTable, folder: Lake, file: str, size: int, columns: int) -> str:
    start = max(0, size - TAIL_BYTES)
    data = folder.read_range(file, start, size)
    tail = data.decode(table.load_args.get("encoding") or "utf-8", "replace")
    if tail.endswith(table.dialect.line_ends):
        return ""
    cut = describe_cut(tail, columns, table.dialect, start == 0)
    if cut:
        raise UserError(
            f"the file is truncated: it ends {cut}, without a newline. Upload it again. If the last row "
            "is complete, add a newline."
        )
    return "; the last line has all fields but no newline, and is read as complete"


def _has_plain_tail(table: RawTable) -> bool:
    """Check whether the last bytes of a table are plain rows with all columns of the header."""
    special = {"usecols", "index_col", "names", "header", "compression", "skipfooter", "comment"}
    return (
        not special & table.load_args.keys()
        and not table.url.endswith(_COMPRESSED)
        and len(table.dialect.separator) == 1
        and (table.load_args.get("encoding") or "utf-8").lower() not in ("utf-16", "utf-32")
    )


def _csv_columns(table: RawTable, folder: Lake, file: str) -> list[str]:
    import pandas as pd

    compression = table.load_args.get("compression", "infer")
    path = f"{folder.root}/{file}"
    with folder.filesystem.open(path, "rb", compression=compression) as stream:
        head = stream.read(HEAD_BYTES)
    is_complete = len(head) < HEAD_BYTES
    if not is_complete:
        # Parse only the header: the head may end inside quotes or inside a character.
        skipped = table.load_args.get("skiprows") or 0
        lines = 1 + (skipped if isinstance(skipped, int) else len(skipped))
        head = b"\n".join(head.split(b"\n")[:lines]) + b"\n"
    excluded = ("chunksize", "iterator", "nrows", "compression", "skipfooter")
    options = {name: value for name, value in table.load_args.items() if name not in excluded}
    try:
        rows: pd.DataFrame = pd.read_csv(io.BytesIO(head), nrows=int(is_complete), **options)
    except UnicodeDecodeError as error:
        raise UserError(
            f"the encoding is not {error.encoding}. Save the file as {error.encoding}, or set `encoding` "
            "under `load_args` in catalog_cleaning.yml."
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(
            f"the file cannot be parsed as CSV: {' '.join(str(error).split())}. Upload it again, or set "
            "its format under `load_args` in catalog_cleaning.yml."
        ) from error
    if is_complete and rows.empty:
        raise UserError("the file has a header but no rows. Upload it again.")
    return [str(name) for name in rows.columns]


def _parquet_columns(table: RawTable, folder: Lake, file: str) -> list[str]:
    parquet_reader.check_options(table.load_args)
    with folder.open(file) as stream:
        rows = parquet_reader.read_head(stream, table.columns)
    if not len(rows):
        raise UserError("the file has columns but no rows. Upload it again.")
    return [str(name) for name in rows.columns]


def _check_columns(table: RawTable, columns: Sequence[str]) -> None:
    missing = [name for name in table.columns if name not in columns]
    if not missing:
        return
    unused = [name for name in columns if name not in table.columns]
    hints = [hint for name in missing if (hint := _similar(name, unused))]
    raise UserError(
        f"missing columns: {', '.join(missing)}; found "
        f"{', '.join(map(repr, columns[:_MAX_COLUMNS_SHOWN]))}.{''.join(f' Is {hint}?' for hint in hints)} "
        "Set the column names under `cleaning:` in parameters_cleaning.yml. If a name ends in '\\r', set "
        "`lineterminator` in catalog_cleaning.yml."
    )


def _similar(name: str, columns: Iterable[str]) -> str | None:
    by_plain_name = {column.casefold().strip(): column for column in columns}
    close = difflib.get_close_matches(name.casefold(), by_plain_name, n=1, cutoff=0.5)
    return f"'{name}' now {by_plain_name[close[0]]!r}" if close else None
