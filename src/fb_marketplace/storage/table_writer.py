"""Writes of rows to keyed tables: atomic commits, beside other processes that write the same rows."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from fb_marketplace.storage.keyed_table import KEY, Rows, TableKeys, open_dataset
from fb_marketplace.storage.keys import KeyArray, Keys, as_mask
from fb_marketplace.storage.retries import retry_on_store_error
from fb_marketplace_serving.storage.lance_options import lance_options

if TYPE_CHECKING:
    import lance
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

MAX_BYTES: Final = 256 * 1024 * 1024
"""Approximate maximum size of a compacted file: a million photos in one file would be gigabytes."""

MAX_SMALL_FRAGMENTS: Final = 12
"""Number of fragments that a table may have, in addition to full ones of ``MAX_BYTES``, before it is
compacted."""

MIN_WRITTEN_BYTES: Final = 1024 * 1024
"""Rows with fewer bytes are committed together with others."""


@dataclass(frozen=True, slots=True)
class WrittenRows:
    """Rows that a worker has written to a table, but not committed. Nobody reads them yet.

    Attributes:
        keys: their keys.
        fragments: description of the files, JSON.
    """

    keys: KeyArray
    fragments: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.keys)

    @property
    def nbytes(self) -> int:
        """Number of bytes in memory."""
        return int(self.keys.nbytes)


@dataclass(frozen=True, slots=True)
class TableSink:
    """Writes rows to a table where they are computed, so that they need not pass through the driver.

    Attributes:
        url: URL of an existing table.
    """

    url: str

    @retry_on_store_error
    def __call__(self, rows: Rows) -> Rows | WrittenRows:
        """Write rows, unless they are few bytes: these are returned, since each write adds a file."""
        import json

        import lance

        if rows.nbytes < MIN_WRITTEN_BYTES:
            return rows
        dataset = open_dataset(self.url)
        rows = _first_of_each_key(rows.select(dataset.schema.names).cast(dataset.schema))
        written = lance.fragment.write_fragments(rows, dataset, mode="append")
        fragments = tuple(json.dumps(fragment.to_json()) for fragment in written)
        return WrittenRows(rows.column(KEY).combine_chunks(), fragments)


def table_sink(existing: Iterable[str]) -> Callable[[Rows], Rows | WrittenRows] | None:
    """Return the sink of the table that existing keys are from; None if they are from no table."""
    return TableSink(existing.url) if isinstance(existing, TableKeys) else None


def insert(url: str, rows: Rows) -> int:
    """Insert the rows with new keys in one commit, and return the version that has all of them."""
    return TableWriter(url).insert(rows)


def retain(url: str, keys: Iterable[str]) -> int:
    """Delete the rows with other keys in one commit, and return the version without them."""
    return TableWriter(url).retain(keys)


class TableWriter:
    """Inserts and deletes rows of a table, to which other processes may write the same rows.

    A commit lists all fragments of the next version. It therefore conflicts with every commit after the
    version that it was computed from, and is repeated without the rows that exist by then. The writer
    remembers the keys of the fragments that it has read, so that it reads only new ones.
    """

    def __init__(self, url: str) -> None:
        """Create a writer of an existing table."""
        self._url = url
        self._dataset: lance.LanceDataset | None = None
        self._fragments: dict[tuple[str, str | None], _StoredKeys] = {}

    def __len__(self) -> int:
        """Return the number of rows in the version that was last read."""
        return sum(len(stored.keys) for stored in self._fragments.values())

    @retry_on_store_error
    def insert(self, rows: Rows, written: Sequence[WrittenRows] = ()) -> int:
        """Insert the rows with new keys in one commit, and return the new version.

        Args:
            rows: rows to write.
            written: rows that workers have written.
        """
        import lance
        import pyarrow as pa

        rows, added = _first_of_each_key(rows), list["lance.FragmentMetadata"]()
        while True:
            dataset = self._read_newest()
            existing = self._existing(
                pa.chunked_array(
                    [*rows.column(KEY).chunks, *(part.keys for part in written)], pa.string()
                )
            )
            # Another run has committed some of these rows.
            repeated = [part for part in written if existing.contains(part.keys).any()]
            if repeated:
                written = [part for part in written if part not in repeated]
                rows = pa.concat_tables([rows, *(self._read_written(part) for part in repeated)])
            exists = existing.contains(rows.column(KEY))
            if not written and exists.all():
                return int(dataset.version)
            if repeated or exists.any() or not added:
                rows = rows.filter(as_mask(~exists))
                added = (
                    lance.fragment.write_fragments(rows, dataset, mode="append")
                    if len(rows)
                    else []
                )
            new = [*_stored_keys(rows.column(KEY).combine_chunks(), added)]
            for part in written:
                fragments = map(lance.FragmentMetadata.from_json, part.fragments)
                new += _stored_keys(part.keys, list(fragments))
            present = [fragment.metadata for fragment in dataset.get_fragments()]
            next_id = max((fragment.id for fragment in present), default=-1) + 1
            for number, (fragment, _) in enumerate(new, next_id):
                fragment.id = number
            merge = lance.LanceOperation.Merge(
                [*present, *(fragment for fragment, _ in new)], dataset.lance_schema
            )
            if version := self._commit(dataset, merge):
                self._fragments |= {(fragment.files[0].path, None): keys for fragment, keys in new}
                return version

    @retry_on_store_error
    def retain(self, keys: Iterable[str]) -> int:
        """Delete the rows with other keys in one commit, and return the new version."""
        import lance

        required = Keys(keys)
        while True:
            dataset = self._read_newest()
            changed, removed = list["lance.FragmentMetadata"](), list[int]()
            for fragment, offsets in self._unwanted(dataset, required):
                remaining = fragment.delete_rows(offsets)
                if remaining is None:
                    removed.append(fragment.fragment_id)
                else:
                    changed.append(remaining)
            if not changed and not removed:
                return int(dataset.version)
            delete = lance.LanceOperation.Delete(changed, removed, f"{KEY} NOT IN (required keys)")
            if version := self._commit(dataset, delete):
                return version

    @retry_on_store_error
    def compact(self, version: int) -> int:
        """Merge small fragments if the newest version has many.

        Old versions stay as they are.

        Args:
            version: the version of the caller's last commit.

        Returns:
            The new version, which has the same rows in the same order unless another process has written to
            the table; ``version`` if nothing was changed.
        """
        dataset = self._read_newest()
        fragments = [fragment.metadata for fragment in dataset.get_fragments()]
        size = sum(file.file_size_bytes or 0 for item in fragments for file in item.files)
        if (
            not size
            or dataset.version != version
            or len(fragments) <= size // MAX_BYTES + MAX_SMALL_FRAGMENTS
        ):
            return version
        bytes_per_row = size / sum(item.physical_rows for item in fragments)
        try:
            dataset.optimize.compact_files(
                # A fragment of full size is not rewritten.
                target_rows_per_fragment=int(MAX_BYTES / bytes_per_row) + 1,
                max_bytes_per_file=MAX_BYTES,
                num_threads=1,
            )
        except OSError as error:
            if "conflict" not in str(error):
                raise
            return version
        return int(self._read_newest().version)

    def _read_newest(self) -> "lance.LanceDataset":
        """Open the newest version, and read the keys of the fragments that have changed."""
        if self._dataset is None:
            self._dataset = open_dataset(self._url)
        dataset = self._dataset
        checkout_latest: Callable[[], None] = dataset.checkout_latest
        checkout_latest()
        fragments = {_identity(fragment): fragment for fragment in dataset.get_fragments()}
        unread = {name: item for name, item in fragments.items() if name not in self._fragments}
        known = self._fragments | dict(
            zip(unread, _read_keys(dataset, unread.values()), strict=True)
        )
        self._fragments = {name: known[name] for name in fragments}
        return dataset

    def _commit(
        self, dataset: "lance.LanceDataset", operation: "lance.LanceOperation.BaseOperation"
    ) -> int | None:
        """Commit an operation on a version.

        Returns:
            The new version; None if another process has committed since.
        """
        import lance
        from lance.commit import CommitConflictError

        try:
            self._dataset = lance.LanceDataset.commit(
                dataset, operation, read_version=dataset.version
            )
        except CommitConflictError:
            return None
        return int(self._dataset.version)

    def _read_written(self, part: WrittenRows) -> Rows:
        """Read rows that a worker has written."""
        import lance
        import pyarrow as pa
        from lance.file import LanceFileReader

        paths = [
            file.path
            for fragment in map(lance.FragmentMetadata.from_json, part.fragments)
            for file in fragment.files
        ]
        options = lance_options(self._url)
        return pa.concat_tables(
            LanceFileReader(f"{self._url}/data/{path}", storage_options=options)
            .read_all()
            .to_table()
            for path in paths
        )

    def _existing(self, keys: "pa.ChunkedArray") -> Keys:
        """Return the keys in the table among the given ones."""
        import pyarrow as pa
        import pyarrow.compute as pc

        stored = pa.chunked_array([item.keys for item in self._fragments.values()], pa.string())
        return Keys(stored.filter(pc.is_in(stored, value_set=keys)))

    def _unwanted(
        self, dataset: "lance.LanceDataset", required: Keys
    ) -> Iterator[tuple["lance.LanceFragment", list[int]]]:
        """Yield the fragments that have rows with other keys, and the offsets of these rows."""
        import pyarrow as pa

        stored = list(self._fragments.values())
        keys = pa.chunked_array([item.keys for item in stored], pa.string())
        unwanted, end = ~required.contains(keys), 0
        for fragment, item in zip(dataset.get_fragments(), stored, strict=True):
            start, end = end, end + len(item.keys)
            if unwanted[start:end].any():
                yield fragment, item.offsets[unwanted[start:end]].tolist()


class _StoredKeys(NamedTuple):
    """Keys of a fragment's rows, and the offsets of these rows among those that include deleted ones."""

    keys: KeyArray
    offsets: "NDArray[np.uint32]"


def _identity(fragment: "lance.LanceFragment") -> tuple[str, str | None]:
    """Return the names of the data file with the keys, and of the deletion file: neither changes."""
    deletion_file: Callable[[], str | None] = fragment.deletion_file
    return fragment.data_files()[0].path, deletion_file()


def _read_keys(
    dataset: "lance.LanceDataset", fragments: Collection["lance.LanceFragment"]
) -> Iterator[_StoredKeys]:
    import numpy as np

    if not fragments:
        return
    rows = dataset.scanner(
        columns=[KEY], fragments=list(fragments), with_row_address=True, scan_in_order=True
    ).to_table()
    keys = rows.column(KEY).combine_chunks()
    offsets = rows.column("_rowaddr").to_numpy().astype(np.uint32)
    end = 0
    for fragment in fragments:
        start, end = end, end + fragment.metadata.num_rows
        yield _StoredKeys(keys.slice(start, end - start), offsets[start:end])


def _stored_keys(
    keys: KeyArray, fragments: "Iterable[lance.FragmentMetadata]"
) -> Iterator[tuple["lance.FragmentMetadata", _StoredKeys]]:
    """Yield new fragments and their keys."""
    import numpy as np

    end = 0
    for fragment in fragments:
        start, end = end, end + fragment.physical_rows
        offsets = np.arange(fragment.physical_rows, dtype=np.uint32)
        yield fragment, _StoredKeys(keys.slice(start, end - start), offsets)


def _first_of_each_key(rows: Rows) -> Rows:
    """Return the rows without those whose key an earlier row has."""
    import numpy as np

    keys = rows.column(KEY).combine_chunks().dictionary_encode().indices
    _, first = np.unique(keys.to_numpy(), return_index=True)
    return rows if len(first) == len(rows) else rows.take(np.sort(first))
