"""Keys of rows in Arrow arrays. A million Python strings would take 120 MB and a second per operation."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

KEYS_PER_CHUNK: Final = 65_536

KeyArray: TypeAlias = Any
"""A ``pyarrow.Array`` of strings. Any, since Kedro evaluates signatures, which must not import Arrow."""


class Keys(Set[str]):
    """Immutable set of keys in an Arrow array. Set operations run in Arrow.

    Attributes:
        array: the keys, without repetitions.
    """

    __slots__ = ("array",)

    def __init__(self, keys: "pa.Array | pa.ChunkedArray | Iterable[str]" = ()) -> None:
        """Create a set of an Arrow array or of strings."""
        self.array: KeyArray
        if isinstance(keys, Keys):
            self.array = keys.array
            return
        array = _as_array(keys)
        unique = array.unique()
        # The array and the set share their memory.
        self.array = array if len(unique) == len(array) else unique

    def contains(self, keys: "pa.Array | pa.ChunkedArray") -> "NDArray[np.bool_]":
        """Check which keys of an array are in the set: bool, (keys,)."""
        import pyarrow.compute as pc

        mask: NDArray[np.bool_] = pc.is_in(keys, value_set=self.array).to_numpy(
            zero_copy_only=False
        )
        return mask

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and bool(self.contains(_as_array([key]))[0])

    def __iter__(self) -> Iterator[str]:
        return iter(self.array.to_pylist())

    def __len__(self) -> int:
        return len(self.array)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Set):
            return NotImplemented
        return len(self) == len(other) and bool(Keys(other).contains(self.array).all())

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def _from_iterable(cls, keys: Iterable[Any]) -> "Keys":  # type: ignore[override]
        return Keys(keys)

    def __and__(self, other: Iterable[Any]) -> "Keys":
        return Keys(self.array.filter(as_mask(Keys(other).contains(self.array))))

    def __sub__(self, other: Iterable[Any]) -> "Keys":
        return Keys(self.array.filter(as_mask(~Keys(other).contains(self.array))))

    def __repr__(self) -> str:
        return f"{len(self):,} keys"


def make_keys(rows: Iterable[Sequence[object]], *parts: object) -> KeyArray:
    """Compute ``fingerprints.make_key(*row, *parts)`` for each row.

    Args:
        rows: the parts of each key that differ between rows.
        parts: the parts of all keys that follow.

    Returns:
        The keys, in the order of the rows.
    """
    import pyarrow as pa

    # The same JSON as that of ``make_key``, of which the end is written once.
    quote = json.encoder.encode_basestring
    end = "".join(f", {quote(str(part))}" for part in parts) + "]"

    def key(row: Sequence[object]) -> str:
        start = ", ".join([quote(str(part)) for part in row])
        return hashlib.sha256(f"[{start}{end}".encode()).hexdigest()

    remaining, chunks = iter(rows), []
    while chunk := list(map(key, islice(remaining, KEYS_PER_CHUNK))):
        chunks.append(pa.array(chunk, pa.string()))
    return pa.chunked_array(chunks, pa.string()).combine_chunks()


def iterate_rows(table: "pa.Table") -> Iterator[tuple[Any, ...]]:
    """Yield the rows of an Arrow table, converted in batches."""
    for batch in table.to_batches(max_chunksize=KEYS_PER_CHUNK):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _as_array(keys: "pa.Array | pa.ChunkedArray | Iterable[str]") -> Any:
    import pyarrow as pa

    if isinstance(keys, pa.ChunkedArray):
        return keys.combine_chunks()
    return keys if isinstance(keys, pa.Array) else pa.array(list(keys), pa.string())


def as_mask(values: "NDArray[np.bool_]") -> Any:
    """Return booleans as a mask for ``filter``."""
    import pyarrow as pa

    return pa.array(values)
