"""Reader of raw Parquet tables. Values become text, as in a CSV table, and never pass through floats."""

import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from fb_marketplace.errors import UserError
from fb_marketplace.storage.filesystem import open_root

if TYPE_CHECKING:
    import pandas as pd

HEAD_ROWS: Final = 1000
HEAD_BLOCK: Final = 1 << 20
"""Bytes per read of the first rows. By default, s3fs reads 50 MB at a time."""

IGNORED_OPTIONS: Final = frozenset(
    (
        *("sep", "delimiter", "lineterminator", "quotechar", "quoting", "doublequote"),
        *("escapechar", "encoding", "encoding_errors", "dtype", "keep_default_na", "na_filter"),
    )
)
"""Options that describe how a CSV table is written. They have no meaning in a Parquet table."""

_UNNAMED_INDEX: Final = re.compile(r"__index_level_\d+__")


def read_table(url: str, load_args: Mapping[str, Any]) -> "pd.DataFrame":
    """Read a table as text, with an empty text for a missing value.

    Numbers with decimals are ``Decimal``, since the decimal separator of the text columns does not apply
    to them; a missing one is None. Columns of bytes, lists and other nested values are left out. So is an
    index without a name; other indexes of pandas are columns.

    Args:
        url: path or URL of the file.
        load_args: options of CSV tables, which are ignored.

    Raises:
        UserError: the file is not a complete Parquet file, or an option would change the rows.
    """
    return _read(url, load_args, lambda file, names: file.read(columns=names))


def read_head(url: str, load_args: Mapping[str, Any], columns: Collection[str]) -> "pd.DataFrame":
    """Read the first rows of a table, as :func:`read_table` does.

    Args:
        url: path or URL of the file.
        load_args: options of CSV tables, which are ignored.
        columns: names of columns that must be readable, if the table has them.

    Raises:
        UserError: as for :func:`read_table`; or a column has a type that has no text.
    """

    def first_rows(file: Any, names: list[str]) -> Any:
        import pyarrow as pa

        for field in file.schema_arrow:
            if field.name in columns and not _is_readable(field.type):
                raise UserError(
                    f"column {field.name!r} has type {field.type}; expected text, numbers, UUIDs or dates. "
                    "Convert it, or set another column under `cleaning:` in parameters_cleaning.yml."
                )
        batches = file.iter_batches(HEAD_ROWS, columns=names)
        first = next((batch for batch in batches if batch.num_rows), None)
        return file.read(columns=names) if first is None else pa.Table.from_batches([first])

    return _read(url, load_args, first_rows, HEAD_BLOCK)


def _check_options(load_args: Mapping[str, Any]) -> None:
    others = sorted(load_args.keys() - IGNORED_OPTIONS)
    if others:
        raise UserError(
            f"`load_args` has {', '.join(others)}; a Parquet table has no options. Remove `load_args` in "
            "catalog_cleaning.yml."
        )


def _read(
    url: str,
    load_args: Mapping[str, Any],
    rows_of: Callable[[Any, list[str]], Any],
    block_size: int | None = None,
) -> "pd.DataFrame":
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check_options(load_args)
    filesystem, path = open_root(url)
    try:
        with filesystem.open(path, "rb", block_size=block_size) as stream:
            # A buffer reads the start of a column without the rest of its row group.
            file = pq.ParquetFile(
                stream,
                pre_buffer=block_size is None,
                buffer_size=block_size or 0,
                page_checksum_verification=True,
            )
            schema = file.schema_arrow
            table = rows_of(file, [field.name for field in schema if _is_readable(field.type)])
    except (pa.ArrowException, OSError) as error:
        # Arrow's own errors have no number, unlike those of a disk or a store.
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise
        reason = " ".join(str(error).split())[:100]
        raise UserError(
            f"the file is not a complete Parquet file: {reason}. Upload it again."
        ) from error
    return _to_frame(table, _pandas_index(schema))


def _to_frame(table: Any, index: Iterable[Any]) -> "pd.DataFrame":
    import pandas as pd

    columns: dict[str, pd.Series] = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        if _is_readable(field.type) and not _UNNAMED_INDEX.fullmatch(field.name):
            columns[_unused(field.name, columns)] = _to_series(column)
    for level in index:
        # Pandas stores an index of consecutive numbers only as its bounds.
        if isinstance(level, dict) and level.get("name"):
            numbers = range(level["start"], level["stop"], level["step"])[: table.num_rows]
            columns[_unused(level["name"], columns)] = pd.Series(map(str, numbers), dtype="str")
    return pd.DataFrame(columns, index=range(table.num_rows))


def _pandas_index(schema: Any) -> list[Any]:
    metadata = (schema.metadata or {}).get(b"pandas")
    return json.loads(metadata)["index_columns"] if metadata else []


def _unused(name: str, columns: Collection[str]) -> str:
    """Return the name of a column, with a number if an earlier one has it, like pandas for CSV tables."""
    names = (f"{name}.{number}" if number else name for number in range(len(columns) + 1))
    return next(name for name in names if name not in columns)


def _is_readable(type_: Any) -> bool:
    import pyarrow as pa

    if isinstance(type_, pa.UuidType):
        return True
    if isinstance(type_, pa.BaseExtensionType):
        return _is_readable(type_.storage_type)
    if pa.types.is_dictionary(type_):
        return _is_readable(type_.value_type)
    kinds = pa.types
    return any(
        is_kind(type_)
        for is_kind in (
            *(kinds.is_string, kinds.is_large_string, kinds.is_string_view, kinds.is_null),
            *(kinds.is_integer, kinds.is_floating, kinds.is_decimal, kinds.is_boolean),
            *(kinds.is_date, kinds.is_time, kinds.is_timestamp, kinds.is_duration),
        )
    )


def _to_series(column: Any) -> "pd.Series":
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if isinstance(column.type, pa.UuidType):
        ids = (str(value) if value else "" for value in column.to_pylist())
        return pd.Series(ids, dtype="str")
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.cast(column.type.storage_type)
    if pa.types.is_floating(column.type):
        # NumPy writes a float with as few digits as its type needs: 12.1, not 12.100000381.
        return _numbers(None if math.isnan(value) else str(value) for value in column.to_numpy())
    if pa.types.is_decimal(column.type):
        return _numbers(None if value is None else f"{value:f}" for value in column.to_pylist())
    if pa.types.is_timestamp(column.type) and column.type.tz:
        # In UTC, since the time zone may be unknown here.
        utc = column.cast(pa.timestamp(column.type.unit)).cast(pa.string())
        column = pc.binary_join_element_wise(utc, "Z", "")
    text = column.cast(pa.large_string())
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        values = text.cast(pa.large_binary()).to_pylist()
        text = pa.array([value and value.decode("utf-8", "replace") for value in values])
    return pd.Series(text.fill_null("").to_pandas(), dtype="str")


def _numbers(texts: Iterable[str | None]) -> "pd.Series":
    """Return numbers as text if all are whole, such as ids in a column of floats; else as ``Decimal``."""
    import pandas as pd

    numbers = [None if text is None else Decimal(text) for text in texts]
    if all(number is None or _is_whole(number) for number in numbers):
        digits = ("" if number is None else str(int(number)) for number in numbers)
        return pd.Series(digits, dtype="str")
    return pd.Series(map(_shortest, numbers), dtype="object")


def _is_whole(number: Decimal) -> bool:
    return number.is_finite() and number == number.to_integral_value()


def _shortest(number: Decimal | None) -> Decimal | None:
    if number is None:
        return None
    text = f"{number:f}"
    return Decimal(text.rstrip("0").rstrip(".") if "." in text else text)
