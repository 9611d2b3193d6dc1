"""Columns of Arrow tables: ids without a Python object for each, and numbers as NumPy arrays."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, overload

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.storage.private_file import PrivateFile

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS: Final = 4096
"""Rows that are converted to Python objects at a time."""


class IdColumn(Sequence[str]):
    """Ids in an Arrow array. Thread-safe.

    A Python string is created when an id is read. Ids are found by bisection; if they are not sorted, in an
    order that is computed at the first search.
    """

    def __init__(self, array: Any) -> None:
        """Wrap an array of strings, of any Arrow type, without missing values.

        Raises:
            ValueError: the values are not strings.
        """
        import pyarrow as pa

        kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
        is_text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
        if len(array) and not any(check(kind) for check in is_text):
            raise ValueError(f"found ids of type {array.type}; expected text")
        # Arrays of different types are never equal, and pandas writes large strings.
        self.array = array if array.type == pa.string() else array.cast(pa.string())

    @classmethod
    def from_ids(cls, ids: Iterable[str]) -> Self:
        """Return a column of ids."""
        return ids if isinstance(ids, cls) else cls(text_array(ids))

    @cached_property
    def is_ascending(self) -> bool:
        """Whether each id is larger than the one before, so that all are distinct."""
        import pyarrow.compute as pc

        return len(self) < 2 or bool(pc.all(pc.less(self.array[:-1], self.array[1:])).as_py())

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Rows in the order of their ids: int64, (ids,)."""
        import pyarrow.compute as pc

        return np.from_dlpack(pc.array_sort_indices(self.array)).astype(np.int64)

    def find(self, value: object) -> int | None:
        """Return the row of an id, of one of them if there are several; None if there is none."""
        if not isinstance(value, str):
            return None
        if self.is_ascending:
            row = bisect_left(range(len(self)), value, key=self._value)
            return row if row < len(self) and self._value(row) == value else None
        order = self.order
        place = bisect_left(
            range(len(self)), value, key=lambda place: self._value(int(order[place]))
        )
        if place == len(self):
            return None
        row = int(order[place])
        return row if self._value(row) == value else None

    def find_all(self, values: "IdColumn") -> NDArray[np.int64]:
        """Return the row of each of some ids: int64, (ids,); -1 for an unknown one."""
        import pyarrow as pa
        import pyarrow.compute as pc

        indices = pc.index_in(values.array, value_set=self.array)
        rows: NDArray[np.int64] = to_numpy(indices, pa.int64(), -1)
        return rows

    def sorted(self) -> "IdColumn":
        """Return the ids in order."""
        return self if self.is_ascending else IdColumn(self.array.take(self.order))

    def _value(self, row: int) -> str:
        return str(self.array[int(row)].as_py())

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "IdColumn": ...
    def __getitem__(self, index: int | slice) -> "str | IdColumn":
        if isinstance(index, slice):
            return IdColumn(self.array[index])
        return self._value(index)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _BATCH_ROWS):
            yield from self.array[start : start + _BATCH_ROWS].to_pylist()

    def __contains__(self, value: object) -> bool:
        return self.find(value) is not None

    def __eq__(self, other: object) -> bool:
        if isinstance(other, IdColumn):
            return self is other or bool(self.array.equals(other.array))
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"IdColumn({self.array.to_pylist() if len(self) < 10 else f'{len(self):,} ids'})"


def text_array(values: Iterable[str]) -> Any:
    """Return an Arrow array of strings."""
    import pyarrow as pa

    # Not pa.array: it imports pandas if it is installed, which takes seconds.
    builder = pa.lib.StringBuilder()
    builder.append_values(list(values))
    return builder.finish()


def column_of(table: "pa.Table", name: str) -> Any:
    """Return a column of a table as one array."""
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def take_values(column: Any, rows: NDArray[np.integer]) -> list[Any]:
    """Return the values of some rows of an Arrow array or table, in a quarter of the time of one by one.

    Args:
        column: the array or table.
        rows: integers, (values,).
    """
    import pyarrow as pa

    # Not pa.array: it imports pandas if it is installed, which takes seconds.
    buffer = pa.py_buffer(rows.astype(np.int64, copy=False))
    indices = pa.Array.from_buffers(pa.int64(), len(rows), [None, buffer])
    values: list[Any] = column.take(indices).to_pylist()
    return values


def to_numpy(array: Any, kind: Any, missing: float) -> NDArray[Any]:
    """Return an Arrow array as a NumPy array, with a value in place of missing ones.

    Args:
        array: an array of numbers.
        kind: the Arrow type of the result.
        missing: the value in place of missing ones.
    """
    import pyarrow as pa

    # Not to_numpy or fill_null: they import pandas if it is installed, which takes seconds.
    array = array.cast(kind)
    if not array.null_count:
        values: NDArray[Any] = np.from_dlpack(array)
        return values
    known = np.from_dlpack(array.is_valid().cast(pa.uint8())).astype(np.bool_)
    numbers = np.from_dlpack(
        pa.Array.from_buffers(kind, len(array), [None, array.buffers()[1]], offset=array.offset)
    )
    return np.where(known, numbers, np.array(missing, numbers.dtype))


def map_table(table: "pa.Table", folder: Path | None) -> "pa.Table":
    """Move a table from memory to a private file, and return the table mapped.

    Args:
        table: the table.
        folder: folder for the file; None to keep the table in memory.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    import pyarrow as pa

    combined = table.combine_chunks()
    if folder is None:
        return combined
    file = PrivateFile(folder)
    with pa.ipc.new_file(pa.PythonFile(file, mode="w"), combined.schema) as writer:
        writer.write_table(combined)
    return pa.ipc.open_file(pa.py_buffer(file.content)).read_all()
