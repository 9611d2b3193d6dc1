"""The ends of a raw table: its columns from the first bytes, and from the last whether it is all there."""

import csv
import difflib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from fb_marketplace.errors import UserError

HEAD_BYTES: Final = 64 * 1024
TAIL_BYTES: Final = 120 * 1024
"""Fewer than the bytes that Python's ``csv`` takes in one field."""

_AFTER: Final = "the line after"
_PACKED: Final = (".gz", ".bz2", ".xz", ".zip", ".zst", ".tar")
_AMONG: Final = 3


@dataclass(frozen=True, slots=True)
class RawTable:
    """A table of the bucket as a run will read it.

    Attributes:
        name: in the catalog.
        url: where it is.
        format: nothing for one that is only looked for.
        load_args: how pandas is told to read it.
        columns: what the parameters say that it has.
    """

    name: str
    url: str
    format: Literal["csv", "parquet", ""] = ""
    load_args: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()


def probe_table(table: RawTable, filesystem: Any, path: str, size: int) -> str:
    """Look at a table's first and last bytes; gives what is well with it.

    Args:
        table: what is expected.
        filesystem: that it is in.
        path: of it, there.
        size: its bytes.

    Raises:
        UserError: a column is missing, it ends in the middle of a row, or it is no such table.
    """
    if not table.format:
        return f"{size:,} bytes"
    if not size:
        raise UserError("it is empty; upload it again")
    if table.format == "parquet":
        columns = _of_parquet(filesystem, path)
    else:
        columns = _of_csv(table, filesystem, path)
    _refuse_missing(table, columns)
    note = ""
    if table.format == "csv" and _is_plain(table):
        note = _look_at_end(table, filesystem, path, size, len(columns))
    return f"{size:,} bytes, {len(columns)} columns{note}"


def last_row_end(text: str, width: int, separator: str, quote: str, from_start: bool) -> str | None:
    """Say how a table whose last line has no end was cut off; nothing where it may be whole.

    A file that was cut off ends anywhere; one by a writer that puts no end to its last line ends with
    a row that has all its fields. A cut within the last field cannot be told from that, unless the
    field is empty, or shorter where all others have one length, as ids and dates have.

    Args:
        text: the last lines, decoded; the first may be part of one.
        width: how many fields a row has.
        separator: between fields.
        quote: around fields.
        from_start: whether the text begins where the table does.
    """
    if from_start:
        begun = [text]
    else:
        # Nobody knows whether it starts within quotes: the reading with more whole rows is right.
        rest = text.partition("\n")[2]
        begun = [rest, quote + rest]
    readings = [_rows(each, separator, quote) for each in begun]
    rows = max(readings, key=lambda found: sum(len(row) == width for row in found))
    if rows[-1] != [_AFTER]:
        return "within a quoted field"
    *others, last = rows[:-1]
    if len(last) < width:
        return f"in a row with {len(last)} of {width} fields"
    if not last[-1].strip():
        return "before a row's last field"
    lengths = {len(row[-1]) for row in others[1:] if len(row) == width}
    if len(others) > _AMONG and len(lengths) == 1 and len(last[-1]) < (usual := lengths.pop()):
        return f"in a field of {len(last[-1])} characters, where all others have {usual}"
    return None


def _rows(text: str, separator: str, quote: str) -> list[list[str]]:
    # Descriptions hold bare carriage returns, which `csv` takes for ends of lines.
    lines = [*text.replace("\r", " ").split("\n"), _AFTER]
    return [
        row
        for row in csv.reader((f"{line}\n" for line in lines), delimiter=separator, quotechar=quote)
        if row
    ]


def _look_at_end(table: RawTable, filesystem: Any, path: str, size: int, width: int) -> str:
    start = max(0, size - TAIL_BYTES)
    tail = filesystem.cat_file(path, start=start, end=size)
    text = tail.decode(table.load_args.get("encoding") or "utf-8", "replace")
    if text.endswith(table.load_args.get("lineterminator") or ("\n", "\r")):
        return ""
    separator = table.load_args.get("sep") or table.load_args.get("delimiter") or ","
    quote = table.load_args.get("quotechar") or '"'
    cut = last_row_end(text, width, separator, quote, start == 0)
    if cut:
        raise UserError(
            f"it ends {cut}, without an end of line: it was cut off. Upload it again; if that row is "
            "meant so, end its line"
        )
    return "; its last line has no end, but all its fields: taken as whole"


def _is_plain(table: RawTable) -> bool:
    """Tell whether its last bytes are its last rows, and its columns those of the file."""
    odd = {"usecols", "index_col", "names", "header", "compression", "skipfooter", "comment"}
    separator = table.load_args.get("sep") or table.load_args.get("delimiter") or ","
    return (
        not odd & table.load_args.keys()
        and not table.url.endswith(_PACKED)
        and len(separator) == 1
        and (table.load_args.get("encoding") or "utf-8").lower() not in ("utf-16", "utf-32")
    )


def _of_csv(table: RawTable, filesystem: Any, path: str) -> list[str]:
    import pandas as pd

    packed = table.load_args.get("compression", "infer")
    with filesystem.open(path, "rb", compression=packed) as stream:
        head = stream.read(HEAD_BYTES)
    all_of_it = len(head) < HEAD_BYTES
    if not all_of_it:
        # The names alone: what comes after them may end within quotes, or within a letter.
        skipped = table.load_args.get("skiprows") or 0
        lines = 1 + (skipped if isinstance(skipped, int) else len(skipped))
        head = b"\n".join(head.split(b"\n")[:lines]) + b"\n"
    told = {
        name: value
        for name, value in table.load_args.items()
        if name not in ("chunksize", "iterator", "nrows", "compression", "skipfooter")
    }
    try:
        first: pd.DataFrame = pd.read_csv(io.BytesIO(head), nrows=int(all_of_it), **told)
    except UnicodeDecodeError as error:
        raise UserError(
            f"it is not in {error.encoding}; save it so, or name its `encoding` under `load_args` in "
            "catalog_cleaning.yml"
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(
            f"it cannot be read as CSV: {' '.join(str(error).split())}; upload it again, or say how it is "
            "written under `load_args` in catalog_cleaning.yml"
        ) from error
    if all_of_it and first.empty:
        raise UserError("it has columns, but no rows; upload it again")
    return [str(name) for name in first.columns]


def _of_parquet(filesystem: Any, path: str) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with filesystem.open(path, "rb") as stream:
            names: list[str] = pq.read_schema(stream).names
    except pa.ArrowInvalid as error:
        raise UserError(
            f"it is no whole Parquet file: {' '.join(str(error).split())[:100]}; upload it again"
        ) from error
    return names


def _refuse_missing(table: RawTable, found: Sequence[str]) -> None:
    missing = [name for name in table.columns if name not in found]
    if not missing:
        return
    free = [name for name in found if name not in table.columns]
    hints = [hint for name in missing if (hint := _nearest(name, free))]
    raise UserError(
        f"it lacks the column {', '.join(missing)}; it has {', '.join(map(repr, found[:30]))}."
        f"{''.join(f' Is {hint}?' for hint in hints)} Name the columns as they are under `cleaning:` in "
        "parameters_cleaning.yml; where a name ends in '\\r', set `lineterminator` in catalog_cleaning.yml"
    )


def _nearest(name: str, among: Iterable[str]) -> str | None:
    plain = {each.casefold().strip(): each for each in among}
    close = difflib.get_close_matches(name.casefold(), plain, n=1, cutoff=0.5)
    return f"'{name}' now {plain[close[0]]!r}" if close else None
