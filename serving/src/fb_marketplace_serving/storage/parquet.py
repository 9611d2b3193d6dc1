"""Parquet in memory. Columns are checked on reading; the same table is always written as the same bytes."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fb_marketplace_serving.storage.columns import column_of, map_table
from fb_marketplace_serving.storage.private_file import Content

if TYPE_CHECKING:
    import pyarrow.parquet as pq


def read_parquet(
    data: Content,
    columns: Sequence[str],
    error: type[ValueError] = ValueError,
    folder: Path | None = None,
    schema: Any = None,
) -> Any:
    """Read a Parquet file.

    Args:
        data: the file.
        columns: the columns that it must have, in order.
        error: type of the exception to raise.
        folder: folder for private files that hold the columns; None to hold them in memory.
        schema: an Arrow schema to cast the columns to; None to keep their types.

    Returns:
        A ``pyarrow.Table``, each of whose columns has one chunk.

    Raises:
        ValueError: the bytes are not Parquet, or the columns differ. The type is ``error``.
        OSError: the folder cannot be written, or the disk is full.
    """
    import pyarrow as pa

    # Not pq.read_table, which imports pyarrow.dataset, and pandas if it is installed.
    file = open_parquet(data, error)
    names = file.schema_arrow.names
    if tuple(names) != tuple(columns):
        raise error(f"found the columns {', '.join(names)}; expected {', '.join(columns)}")
    types = schema.types if schema else [None] * len(names)

    def read(name: str, type_: Any) -> Any:
        try:
            part = file.read([name])
        except (pa.ArrowInvalid, OSError) as cause:
            raise _not_parquet(data, cause, error) from cause
        try:
            return part.cast(pa.schema([(name, type_)])) if type_ else part
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as cause:
            raise error(f"found columns of unexpected types ({cause})") from cause

    # One column at a time, so that only one is in memory if they are mapped.
    columns_read = [
        column_of(map_table(read(name, type_), folder), name)
        for name, type_ in zip(names, types, strict=True)
    ]
    table = pa.table(columns_read, names)
    return table.replace_schema_metadata(file.schema_arrow.metadata)


def open_parquet(data: Content, error: type[ValueError] = ValueError) -> "pq.ParquetFile":
    """Open a Parquet file.

    Args:
        data: the file.
        error: type of the exception to raise.

    Raises:
        ValueError: the bytes are not Parquet. The type is ``error``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(pa.BufferReader(pa.py_buffer(data)))
    except (pa.ArrowInvalid, OSError) as cause:
        raise _not_parquet(data, cause, error) from cause


def write_parquet(table: Any, **options: Any) -> bytes:
    """Return a ``pyarrow.Table`` as a Parquet file, compressed with zstd.

    Args:
        table: the table.
        options: further arguments of ``pyarrow.parquet.write_table``.
    """
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", **options)
    return buffer.getvalue()


def find_row(file: "pq.ParquetFile", column: str, value: str) -> dict[str, Any] | None:
    """Return the row with a value in a sorted column of texts; None if there is none.

    One row group is decoded.

    Args:
        file: the file, with few rows in each group.
        column: its first column, sorted.
        value: the value.
    """
    # Not with filters of pyarrow.dataset: importing it takes seconds if pandas is installed.
    for group in range(file.num_row_groups):
        bounds = file.metadata.row_group(group).column(0).statistics
        if bounds is None or bounds.min <= value <= bounds.max:
            values = file.read_row_group(group, columns=[column]).column(0).to_pylist()
            if value in values:
                row = file.read_row_group(group).slice(values.index(value), 1)
                return row.to_pylist()[0]  # type: ignore[no-any-return]
    return None


def _not_parquet(data: Content, cause: Exception, error: type[ValueError]) -> ValueError:
    return error(f"found {len(data):,} bytes that are not Parquet ({cause})")
