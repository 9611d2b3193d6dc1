"""Large Lance tables of rows with keys, written in atomic commits and read at one version.

The key of a row is a digest of everything that the row depends on. A row whose key exists is not computed
again. A row whose key is no longer needed is deleted. One mechanism therefore handles both resuming after a
crash and adding new data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from fb_marketplace.storage.filesystem import lance_options
from fb_marketplace.storage.retries import retry_on_store_error

if TYPE_CHECKING:
    import lance
    import numpy as np
    import pyarrow as pa

KEY: Final = "key"
"""The key column of every keyed table."""

_PRIMARY: Final = {b"lance-schema:unenforced-primary-key": b"true"}
"""Makes Lance treat two commits of the same key as a conflict. Without it, rows that two runs insert
concurrently would be duplicated."""

DELETE_BATCH_SIZE: Final = 1000

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
        return self._open().take([int(row) for row in rows], columns=list(columns))

    def order(self, by: str) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """Return the positions of all rows, sorted by a column: int64, (rows,)."""
        import numpy as np

        values = self.read([by]).column(by).to_numpy(zero_copy_only=False)
        return np.argsort(values.astype(str), kind="stable").astype(np.int64)

    def vectors(
        self, rows: Sequence[int], column: str
    ) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
        """Return the vectors in a column at these positions: float32, (rows, dimension)."""
        import numpy as np

        lists = self.take(rows, [column]).column(column).combine_chunks()
        return np.array(lists.flatten(), dtype=np.float32).reshape(len(rows), -1)

    def _open(self) -> "lance.LanceDataset":
        return _opened(self.url, self.version)


@dataclass(frozen=True, slots=True)
class KeepOnly:
    """Instruction to a keyed table: delete all rows except those with these keys.

    Attributes:
        keys: the keys to keep.
        existing: keys that the caller found in the table; it does not compute their rows.
    """

    keys: frozenset[str]
    existing: frozenset[str] = frozenset()


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


def existing_keys(url: str) -> frozenset[str]:
    """Return the keys of all rows in the newest version of a table; empty if there is no table."""
    try:
        return frozenset(open_table(url).read([KEY]).column(KEY).to_pylist())
    except TableMissingError:
        return frozenset()


@retry_on_store_error
def ensure_table(url: str, schema: "pa.Schema") -> None:
    """Create an empty table if there is none with this schema. Old versions with other columns remain."""
    import lance

    index, options = schema.get_field_index(KEY), lance_options(url)
    keyed = schema.set(index, schema.field(index).with_metadata(_PRIMARY))
    try:
        if not open_dataset(url).schema.equals(schema):
            empty = keyed.empty_table()
            lance.write_dataset(empty, url, schema=keyed, mode="overwrite", storage_options=options)
    except TableMissingError:
        nothing = lance.LanceOperation.Overwrite(keyed, [])
        try:
            # No retry: if two runs create the table concurrently, it would empty the first one's table.
            lance.LanceDataset.commit(url, nothing, max_retries=0, storage_options=options)
        except (OSError, ValueError):
            if not _has(url, schema):
                raise


@retry_on_store_error
def insert(url: str, rows: Rows) -> int:
    """Insert the rows with new keys in one commit, and return the new version."""
    dataset = open_dataset(url)
    dataset.merge_insert(KEY).when_not_matched_insert_all().execute(rows)
    return int(dataset.version)


@retry_on_store_error
def retain(url: str, keys: frozenset[str]) -> int:
    """Delete the rows with other keys, and return the new version."""
    dataset = open_dataset(url)
    unwanted = sorted(existing_keys(url) - keys)
    for start in range(0, len(unwanted), DELETE_BATCH_SIZE):
        names = ", ".join(f"'{key}'" for key in unwanted[start : start + DELETE_BATCH_SIZE])
        dataset.delete(f"{KEY} IN ({names})")
    return int(dataset.version)


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
