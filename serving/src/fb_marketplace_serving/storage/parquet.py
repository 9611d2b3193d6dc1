"""Parquet in memory. Columns are checked on reading; the same table is always written as the same bytes."""

import io
from collections.abc import Sequence
from typing import Any


def read_parquet(data: bytes, columns: Sequence[str], error: type[ValueError] = ValueError) -> Any:
    """Read a Parquet file.

    Args:
        data: the file.
        columns: the columns that it must have, in order.
        error: type of the exception to raise.

    Returns:
        A ``pyarrow.Table``.

    Raises:
        ValueError: the bytes are not Parquet, or the columns differ. The type is ``error``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Not pq.read_table, which imports pyarrow.dataset, and pandas if it is installed.
        table: Any = pq.ParquetFile(io.BytesIO(data)).read()
    except (pa.ArrowInvalid, OSError) as cause:
        raise error(f"found {len(data):,} bytes that are not Parquet ({cause})") from cause
    if tuple(table.column_names) != tuple(columns):
        raise error(
            f"found the columns {', '.join(table.column_names)}; expected {', '.join(columns)}"
        )
    return table


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
