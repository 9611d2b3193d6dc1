"""Large tables in Lance: rows with a key, written by atomic commits, read at one version.

The key of a row is a digest of all that the row depends on. A key that a table holds is not made
again; a row whose key is no longer wanted is deleted. So going on after a crash and taking in only
what is new are one mechanism.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from fb_marketplace.storage.filesystem import lance_options
from fb_marketplace.storage.retries import retry_on_store_error

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

KEY: Final = "key"
"""The column that every keyed table has."""

_PRIMARY: Final = {b"lance-schema:unenforced-primary-key": b"true"}
"""Tells Lance that two commits of the same key conflict; without it, rows that two runs insert at once are
there twice."""

DELETE_BATCH_SIZE: Final = 1000

Rows: TypeAlias = Any
"""A ``pyarrow.Table``. Kedro reads the signatures of nodes, and Arrow is not imported for that."""


class TableMissingError(LookupError):
    """There is no table, or no such version of it."""


@dataclass(frozen=True, slots=True)
class Table:
    """One version of a Lance table; picklable, and opened anew in each process that reads it."""

    url: str
    version: int

    @retry_on_store_error
    def __len__(self) -> int:
        return int(self._open().count_rows())

    @retry_on_store_error
    def read(self, columns: Sequence[str]) -> "pa.Table":
        """Read columns of all rows, in the order in which they were written."""
        return self._open().to_table(columns=list(columns))

    @retry_on_store_error
    def take(self, rows: Sequence[int], columns: Sequence[str]) -> "pa.Table":
        """Read columns of the rows at these positions, in this order."""
        return self._open().take([int(row) for row in rows], columns=list(columns))

    def order(self, by: str) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """Give the positions of all rows in the order of a column: int64, (rows,)."""
        values = self.read([by]).column(by).to_numpy(zero_copy_only=False)
        return np.argsort(values.astype(str), kind="stable").astype(np.int64)

    def vectors(
        self, rows: Sequence[int], column: str
    ) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
        """Read a column of vectors at these positions: float32, (rows, dimension)."""
        lists = self.take(rows, [column]).column(column).combine_chunks()
        return np.array(lists.flatten(), dtype=np.float32).reshape(len(rows), -1)

    def _open(self) -> "lance.LanceDataset":
        return _opened(self.url, self.version)


@dataclass(frozen=True, slots=True)
class KeepOnly:
    """An instruction to a keyed table: of the rows held, keep those with these keys.

    Attributes:
        keys: what is still wanted.
        held: the keys that whoever asks found there, and so will not make again.
    """

    keys: frozenset[str]
    held: frozenset[str] = frozenset()


@retry_on_store_error
def open_table(url: str, version: int | str | None = None) -> Table:
    """Open a table at a version: a number, a tag, or the newest.

    Raises:
        TableMissingError: there is no such table or version.
    """
    return Table(url, int(_open(url, version).version))


def existing_keys(url: str) -> frozenset[str]:
    """Give the keys of all rows that a table holds now; none if there is no table yet."""
    try:
        return frozenset(open_table(url).read([KEY]).column(KEY).to_pylist())
    except TableMissingError:
        return frozenset()


@retry_on_store_error
def ensure_table(url: str, schema: "pa.Schema") -> None:
    """Make an empty table if there is none, or only one with other columns, whose versions stay."""
    import lance

    place, options = schema.get_field_index(KEY), lance_options(url)
    keyed = schema.set(place, schema.field(place).with_metadata(_PRIMARY))
    try:
        if not _open(url, None).schema.equals(schema):
            empty = keyed.empty_table()
            lance.write_dataset(empty, url, schema=keyed, mode="overwrite", storage_options=options)
    except TableMissingError:
        nothing = lance.LanceOperation.Overwrite(keyed, [])
        try:
            # Without another try: where two runs make a table at once, that would empty the first one's.
            lance.LanceDataset.commit(url, nothing, max_retries=0, storage_options=options)
        except (OSError, ValueError):
            if not _has(url, schema):
                raise


@retry_on_store_error
def insert(url: str, rows: Rows) -> int:
    """Add rows whose keys the table lacks, in one commit; gives the version that this made."""
    dataset = _open(url, None)
    dataset.merge_insert(KEY).when_not_matched_insert_all().execute(rows)
    return int(dataset.version)


@retry_on_store_error
def retain(url: str, keys: frozenset[str]) -> int:
    """Delete the rows whose keys are not among these; gives the version that this made."""
    dataset = _open(url, None)
    unwanted = sorted(existing_keys(url) - keys)
    for start in range(0, len(unwanted), DELETE_BATCH_SIZE):
        names = ", ".join(f"'{key}'" for key in unwanted[start : start + DELETE_BATCH_SIZE])
        dataset.delete(f"{KEY} IN ({names})")
    return int(dataset.version)


@retry_on_store_error
def tag(url: str, name: str, version: int) -> None:
    """Name a version, so that it is kept and can be asked for."""
    tags = _open(url, None).tags
    try:
        tags.create(name, version)
    except ValueError as error:
        # A tag whose making was answered by nobody is made again, and then is there already.
        if "already exists" not in str(error) or tags.list()[name]["version"] != version:
            raise


def _has(url: str, schema: "pa.Schema") -> bool:
    try:
        return bool(_open(url, None).schema.equals(schema))
    except TableMissingError:
        return False


@lru_cache(maxsize=16)
def _opened(url: str, version: int) -> "lance.LanceDataset":
    """Open a version once a process: opening costs requests, and a version does not change."""
    return _open(url, version)


def _open(url: str, version: int | str | None) -> "lance.LanceDataset":
    import lance

    try:
        return lance.dataset(url, version=version, storage_options=lance_options(url))
    except ValueError as error:
        if "not found" in str(error).lower():
            which = "" if version is None else f" at version {version}"
            raise TableMissingError(f"there is no table {url}{which}") from error
        raise
