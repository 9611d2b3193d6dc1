"""Large Lance tables of rows with keys: how they are created, opened and read at one version.

The key of a row is a digest of everything that the row depends on. A row whose key exists is not computed
again. A row whose key is no longer needed is deleted. One mechanism therefore handles both resuming after a
crash and adding new data.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from fb_marketplace.storage.keys import Keys
from fb_marketplace.storage.retries import retry_on_store_error
from fb_marketplace_serving.storage.lance_options import lance_options

if TYPE_CHECKING:
    import lance
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

KEY: Final = "key"
"""The key column of every keyed table."""

VECTORS_PER_READ: Final = 16384

Rows: TypeAlias = Any
"""A ``pyarrow.Table``. Any, since Kedro evaluates node signatures, which must not import Arrow."""


class TableMissingError(LookupError):
    """The table or the version does not exist."""


@dataclass(frozen=True, slots=True)
class Table:
    """One version of a Lance table. It is picklable; each process opens the table for itself."""

    url: str
    version: int

    @retry_on_store_error
    def __len__(self) -> int:
        return int(self._open().count_rows())

    @retry_on_store_error
    def read(self, columns: Sequence[str]) -> "pa.Table":
        """Read columns of all rows, in storage order."""
        return self._open().to_table(columns=list(columns))

    @retry_on_store_error
    def take(self, rows: Sequence[int], columns: Sequence[str]) -> "pa.Table":
        """Read columns of the rows at these positions, in the given order."""
        import numpy as np

        # Lance's `take` searches the deleted rows for each position: in a table with 830 of them, 500 rows
        # took 7 s.
        ids = _row_ids(self.url, self.version)[np.asarray(rows, np.int64)]
        return self._open()._take_rows(ids.tolist(), columns=list(columns))

    def order(self, by: str) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """Return the positions of all rows, sorted by a column: int64, (rows,)."""
        import numpy as np
        import pyarrow.compute as pc

        positions = pc.array_sort_indices(self.read([by]).column(by)).to_numpy()
        return np.asarray(positions, dtype=np.int64)

    def vectors(
        self, rows: Sequence[int], column: str, dimensions: slice | None = None
    ) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
        """Return the vectors in a column at these positions: float32, (rows, dimension).

        Args:
            rows: the positions.
            column: the column of vectors.
            dimensions: the dimensions to keep; None for all.
        """
        import numpy as np

        matrix = np.empty((0, 0), np.float32)
        # In parts, since a read holds several copies of its rows in memory.
        for start in range(0, len(rows), VECTORS_PER_READ):
            part = rows[start : start + VECTORS_PER_READ]
            lists = self.take(part, [column]).column(column).combine_chunks()
            values = lists.flatten().to_numpy(zero_copy_only=False).reshape(len(part), -1)
            values = values[:, dimensions or slice(None)]
            if not start:
                matrix = np.empty((len(rows), values.shape[1]), np.float32)
            matrix[start : start + len(part)] = values
        return matrix

    def _open(self) -> "lance.LanceDataset":
        return _opened(self.url, self.version)


@dataclass(init=False, slots=True)
class KeepOnly:
    """Instruction to a keyed table: delete all rows except those with these keys.

    Attributes:
        keys: the keys to keep.
        existing: keys that the caller found in the table; it does not compute their rows.
    """

    keys: Keys
    existing: Keys

    def __init__(self, keys: Iterable[str], existing: Iterable[str] = ()) -> None:
        """Create the instruction from sets or Arrow arrays."""
        self.keys, self.existing = Keys(keys), Keys(existing)


@retry_on_store_error
def open_table(url: str, version: int | str | None = None) -> Table:
    """Open a table.

    Args:
        url: URL of the table.
        version: a version number or a tag; None for the newest version.

    Raises:
        TableMissingError: the table or the version does not exist.
    """
    return Table(url, int(open_dataset(url, version).version))


class TableKeys(Keys):
    """Keys of all rows in the newest version of a table.

    Attributes:
        url: URL of the table.
    """

    __slots__ = ("url",)

    def __init__(self, keys: "pa.ChunkedArray | Iterable[str]", url: str) -> None:
        """Set the keys and the table."""
        super().__init__(keys)
        self.url = url


def existing_keys(url: str) -> TableKeys:
    """Return the keys of all rows in the newest version of a table; empty if there is no table."""
    try:
        return TableKeys(open_table(url).read([KEY]).column(KEY), url)
    except TableMissingError:
        return TableKeys((), url)


@retry_on_store_error
def ensure_table(url: str, schema: "pa.Schema") -> None:
    """Create an empty table if there is none with this schema. Old versions with other columns remain."""
    import lance

    options = lance_options(url)
    try:
        if not open_dataset(url).schema.equals(schema):
            empty = schema.empty_table()
            lance.write_dataset(
                empty, url, schema=schema, mode="overwrite", storage_options=options
            )
    except TableMissingError:
        nothing = lance.LanceOperation.Overwrite(schema, [])
        try:
            # No retry: if two runs create the table concurrently, it would empty the first one's table.
            lance.LanceDataset.commit(url, nothing, max_retries=0, storage_options=options)
        except (OSError, ValueError):
            if not _has(url, schema):
                raise


@retry_on_store_error
def tag(url: str, name: str, version: int) -> None:
    """Tag a version, so that Lance does not clean it up and readers can open it by name."""
    tags = open_dataset(url).tags
    try:
        tags.create(name, version)
    except ValueError as error:
        # If the response to a first attempt was lost, the tag exists already.
        if "already exists" not in str(error) or tags.list()[name]["version"] != version:
            raise


def _has(url: str, schema: "pa.Schema") -> bool:
    try:
        return bool(open_dataset(url).schema.equals(schema))
    except TableMissingError:
        return False


@lru_cache(maxsize=16)
def _opened(url: str, version: int) -> "lance.LanceDataset":
    """Open a version once per process: opening costs requests, and versions do not change."""
    return open_dataset(url, version)


@lru_cache(maxsize=16)
def _row_ids(url: str, version: int) -> "NDArray[np.uint64]":
    """Return Lance's id of each row of a version, in storage order: uint64, (rows,)."""
    scanner = _opened(url, version).scanner(columns=[], with_row_id=True)
    ids: NDArray[np.uint64] = scanner.to_table().column("_rowid").to_numpy()
    return ids


def open_dataset(url: str, version: int | str | None = None) -> "lance.LanceDataset":
    """Open a version of a table with Lance.

    Raises:
        TableMissingError: the table or the version does not exist.
    """
    import lance

    try:
        return lance.dataset(url, version=version, storage_options=lance_options(url))
    except ValueError as error:
        if "not found" in str(error).lower():
            which = "" if version is None else f" at version {version}"
            raise TableMissingError(f"Table {url} does not exist{which}") from error
        raise
