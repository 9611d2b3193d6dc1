"""Parquet in memory. Columns are checked on reading; the same table is always written as the same bytes."""

import io
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

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


ROWS_PER_GROUP: Final = 1024
"""Rows of a group in a file for :class:`SortedRows`. Smaller groups are decoded faster, but the metadata of
each column of each group take a kilobyte: with 256 rows, provenance took 128 bytes per listing."""


class SortedRows:
    """Rows of a Parquet file, found by their value in the first column, sorted texts. Thread-safe.

    The metadata, which grow with the file, are read once. A lookup decodes one row group, which should have
    few rows.
    """

    def __init__(self, data: Content) -> None:
        """Read the metadata of a file.

        Raises:
            ValueError: the bytes are not Parquet.
        """
        file = open_parquet(data)
        self._data, self._metadata = data, file.metadata
        self._column = file.schema_arrow.names[0]
        groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
        self._groups = [number for number, group in enumerate(groups) if group.num_rows]
        # Arrow writes no bounds of long texts.
        self._last = [
            bounds.max
            if (bounds := groups[number].column(0).statistics) and bounds.has_min_max
            else self._ids(number)[-1]
            for number in self._groups
        ]

    def find(self, value: str) -> dict[str, Any] | None:
        """Return the row with a value in the first column; None if there is none."""
        index = bisect_left(self._last, value)
        if index == len(self._groups):
            return None
        group = self._groups[index]
        values = self._ids(group)
        if value not in values:
            return None
        row = self._open().read_row_group(group).slice(values.index(value), 1)
        return row.to_pylist()[0]  # type: ignore[no-any-return]

    def _ids(self, group: int) -> list[str]:
        # Not with filters of pyarrow.dataset: importing it takes seconds if pandas is installed.
        return self._open().read_row_group(group, columns=[self._column]).column(0).to_pylist()  # type: ignore[no-any-return]

    def _open(self) -> "pq.ParquetFile":
        """Return a reader of the file: readers must not be shared between threads."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        return pq.ParquetFile(pa.BufferReader(pa.py_buffer(self._data)), metadata=self._metadata)


def _not_parquet(data: Content, cause: Exception, error: type[ValueError]) -> ValueError:
    return error(f"found {len(data):,} bytes that are not Parquet ({cause})")
