"""Vectors in a Lance table, in a folder or a bucket.

A search reads the parts of the table's index that it scans, and the vectors of some thousand candidates.
A server copies both to private files, up to a limit. Otherwise each vector is a small read from the bucket,
and the parts of the index and the vectors that were read last are cached in memory, up to another limit.

The index of a table selects candidates by quantized vectors. :mod:`knn` then ranks them by their exact
distances, as those of other sources. A filter is passed to Lance as a bitmap of the allowed rows, before
rows are ranked. If it passes few rows, all of them are compared.
"""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.ann.candidate_source import Rows
from fb_marketplace_serving.interpreter_lock import INTERPRETER
from fb_marketplace_serving.storage.lance_options import lance_options
from fb_marketplace_serving.storage.private_file import PrivateFile, PrivateFolder

VECTOR: Final = "vector"
"""Column of the vectors. The table has no other, and row i of the release is row i of the table."""

OVERSAMPLING: Final = 4
"""Candidates whose exact distance is computed, as a multiple of the requested rows."""

EXACT_ROWS: Final = 1_000
"""If a filter passes at most this many rows, all of them are compared: an index would have about as many of
them compared."""

EXHAUSTIVE_ROWS: Final = 100_000
"""All clusters of at most this many rows are searched. Otherwise Lance chooses their number, except with a
filter, which may pass only rows far from the query: half of 300,000 rows had Recall@10 0.98."""

CACHE_BYTES: Final = 512 * 1024 * 1024
"""Default maximum size of the cached parts of all tables of an open release that are not copied."""

COPY_CACHE_BYTES: Final = 32 * 1024 * 1024
"""Maximum size of the cached parts of a copied table. The system caches its files, in memory that it can
take back."""

DISK_BYTES: Final = 16 * 1024**3
"""Default maximum size of the tables of an open release that a server copies."""

_SEARCH_LIMITS: Final = {
    "LANCE_IVF_STREAMING_SEARCH_BATCH_SIZE": "4",
    "LANCE_IVF_GLOBAL_TOPK_CHUNK_BYTES": str(8 * 1024 * 1024),
}
"""Environment variables of Lance: clusters, and bytes of clusters, that a search compares at a time. By
default 16, of two megabytes each, and 64 MiB. Each search has several times as much in memory."""

_BLOCK_ROWS: Final = 8192
"""Vectors that are copied, or compared in :meth:`VectorTable.within`, at a time."""

_READ_AHEAD_BYTES: Final = 32 * 1024 * 1024
"""Vectors that are read ahead to be copied."""

READ_OPTIONS: Final = {
    "connect_timeout": "2s",
    "read_timeout": "2s",
    "client_max_retries": "1",
    "client_retry_timeout": "2",
    "download_retry_count": "1",
}
"""Options of Lance's S3 client, with shorter times than in the pipelines: a buyer waits for each read."""

PAUSE_SECONDS: Final = 5.0
SLOW_SECONDS: Final = 1.0
"""If a read fails after at least ``SLOW_SECONDS``, the table is not read for ``PAUSE_SECONDS``. Searches
that need it fail at once, and do not occupy the threads of others."""

METADATA_CACHE_BYTES: Final = 16 * 1024 * 1024
"""Maximum size of the cached metadata of a table."""

_IO_ERROR: Final = "LanceError(IO)"
"""Part of the message of a failed read. Lance raises several types for it."""

_SPARSE_ROWS: Final = 4096
"""Number of values up to which a container of a roaring bitmap lists them."""

_NO_RUNS: Final = 12346
"""First number of a serialized roaring bitmap without runs."""

Matrix = NDArray[np.float32]


def limit_search_memory() -> None:
    """Limit the memory that a search by Lance takes. Call it before there are other threads."""
    for name, value in _SEARCH_LIMITS.items():
        os.environ.setdefault(name, value)


class VectorTableError(ValueError):
    """A table that does not exist, or is not one of vectors."""


class VectorTable:
    """The vectors of one version of a Lance table, as a candidate source. Thread-safe.

    Lance is not fork-safe: a process that has opened a table must not fork.

    Attributes:
        dimension: number of dimensions of a vector.
    """

    def __init__(self, dataset: Any, cache_bytes: int = 0) -> None:
        """Wrap an opened table; see :meth:`open`.

        Args:
            dataset: the ``lance.LanceDataset``.
            cache_bytes: maximum size of the cached vectors.

        Raises:
            VectorTableError: it is not a table of vectors in one fragment without deleted rows, or it has
                files outside of its folder.
        """
        with _os_errors():
            fragments = [fragment.metadata for fragment in dataset.get_fragments()]
            self._dataset, self._count = dataset, int(dataset.count_rows())
            self._is_indexed = bool(dataset.describe_indices())
            folders = [base.path for base in dataset.base_paths().values()]
        kind = dataset.schema.field(VECTOR).type if VECTOR in dataset.schema.names else None
        self.dimension = int(getattr(kind, "list_size", 0))
        is_plain = [fragment.id for fragment in fragments] == [0] and not (
            fragments[0].deletion_file or fragments[0].row_id_meta or fragments[0].overlays
        )
        if self.dimension < 1 or not is_plain:
            raise VectorTableError(
                f"found a table with the columns {', '.join(dataset.schema.names)} in the fragments "
                f"{[fragment.id for fragment in fragments]}; expected fragment 0 only, with the column "
                f"{VECTOR}, without changed or deleted rows"
            )
        files = [file.path for file in fragments[0].files]
        if outside := folders + [path for path in files if "/" in path]:
            raise VectorTableError(
                f"found a table that refers to files in {', '.join(outside)}; expected only files in its "
                "own folder"
            )
        self._paused_until = 0.0
        self._retrying = threading.Lock()
        self._cache = _VectorCache(self._count, self.dimension, cache_bytes)
        self._copy: Matrix | None = None
        self._folder: PrivateFolder | None = None

    @classmethod
    def open(cls, url: str, version: int, cache_bytes: int) -> Self:
        """Open a version of a table. Credentials of S3 come from the environment.

        Args:
            url: path or URL of the table.
            version: its version.
            cache_bytes: maximum size of the cache, half of it for the index and metadata, half for vectors.
                Four bytes per row are added, unless :meth:`use_copy` is called.

        Raises:
            VectorTableError: it is not a table of vectors.
            ModuleNotFoundError: Lance is not installed.
            OSError: it cannot be read.
        """
        import lance

        options = lance_options(url)
        metadata_bytes = min(METADATA_CACHE_BYTES, cache_bytes // 8)
        try:
            with _os_errors(()):
                dataset = lance.dataset(
                    url,
                    version=version,
                    index_cache_size_bytes=cache_bytes // 2 - metadata_bytes,
                    metadata_cache_size_bytes=metadata_bytes,
                    storage_options=options and options | READ_OPTIONS,
                )
        except ValueError as error:
            if _IO_ERROR in str(error):
                raise OSError(str(error)) from error
            raise VectorTableError(f"found no version {version} of a table: {error}") from error
        return cls(dataset, cache_bytes // 2)

    def __len__(self) -> int:
        return self._count

    @property
    def vector_bytes(self) -> int:
        """Size of all vectors."""
        return 4 * self._count * self.dimension

    @property
    def is_copied(self) -> bool:
        """Whether vectors are read from a copy."""
        return self._copy is not None

    def use_copy(self, file: PrivateFile, folder: PrivateFolder | None = None) -> None:
        """Read vectors from a file of all :func:`vector_blocks` from now on.

        Args:
            file: the file.
            folder: the folder that the table was opened in, if it is a copy without vectors.

        Raises:
            VectorTableError: it has not as many vectors as the table.
        """
        if file.tell() != self.vector_bytes:
            raise VectorTableError(
                f"found {file.tell():,} bytes of vectors; expected {self.vector_bytes:,}"
            )
        file.expect_random_reads()
        self._copy = np.frombuffer(file.content, np.float32).reshape(-1, self.dimension)
        self._folder = folder
        self._cache = _VectorCache(0, self.dimension, 0)

    def top(self, query: Matrix, count: int, allowed: Rows | None = None) -> Rows:
        """Return the nearest rows, and some more; see :meth:`CandidateSource.top`."""
        available = self._count if allowed is None else len(allowed)
        reach = OVERSAMPLING * count
        if self._is_indexed and available > max(reach, EXACT_ROWS):
            rows = self._scan_index(query, reach, allowed)
            if len(rows) >= count:
                return rows
        return np.arange(self._count) if allowed is None else allowed

    def within(self, query: Matrix, radius: float, allowed: Rows | None = None) -> Rows:
        """Return all rows within a radius by exhaustive search; see :meth:`CandidateSource.within`."""
        count = self._count if allowed is None else len(allowed)
        if self._copy is not None:
            rows = np.arange(count) if allowed is None else allowed
            parts = [
                part[((self._copy[part] - query) ** 2).sum(axis=1) < radius]
                for part in np.split(rows, range(_BLOCK_ROWS, count, _BLOCK_ROWS))
            ]
            return np.concatenate(parts)
        return self._nearest(query, count, allowed, use_index=False, distance_range=(None, radius))

    def vectors(self, rows: Rows) -> Matrix:
        """Return a copy of some vectors: float32, (rows, dimension)."""
        if self._copy is not None:
            return self._copy[rows]
        vectors, is_missing = self._cache.read(rows)
        if is_missing.any():
            missing = np.unique(rows[is_missing])
            added = self._read(missing)
            self._cache.add(missing, added)
            vectors[is_missing] = added[np.searchsorted(missing, rows[is_missing])]
        return vectors

    def locate(self, rows: Rows) -> tuple[Matrix, Rows]:
        """Return some vectors and their places; see :meth:`CandidateSource.locate`."""
        if self._copy is not None:
            return self._copy, rows
        return self.vectors(rows), np.arange(len(rows))

    def _scan_index(self, query: Matrix, count: int, allowed: Rows | None) -> Rows:
        is_exhaustive = allowed is not None or self._count <= EXHAUSTIVE_ROWS
        return self._nearest(query, count, allowed, search_effort=1.0 if is_exhaustive else None)

    def _nearest(self, query: Matrix, count: int, allowed: Rows | None, **options: Any) -> Rows:
        from lance.dataset import ScannerBuilder

        builder = ScannerBuilder(self._dataset).columns([]).with_row_id(True)
        builder = builder.disable_scoring_autoprojection(True)
        builder = builder.nearest(VECTOR, query[0], k=count, **options)
        if allowed is not None:
            builder = builder.row_addr_prefilter(allowlist=row_bitmap(allowed)).prefilter(True)
        with self._reading():
            table = builder.to_scanner().to_table()
        # The id of a row in the first fragment is its position.
        ids = table.column("_rowid").combine_chunks()
        rows: Rows = np.from_dlpack(ids).astype(np.int64)
        return rows

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Raise an OSError for a failed read, or if a slow read has just failed.

        After the pause one thread tries; the others still fail at once, until it has succeeded.
        """
        with INTERPRETER.released():
            started, is_suspect = monotonic(), self._paused_until > 0
            if is_suspect and (
                started < self._paused_until or not self._retrying.acquire(blocking=False)
            ):
                message = f"a table of vectors could not be read in the last {PAUSE_SECONDS:g} s"
                raise OSError(errno.EIO, message)
            try:
                with _os_errors():
                    yield
                self._paused_until = 0.0
            except OSError:
                now = monotonic()
                if now - started >= SLOW_SECONDS:
                    self._paused_until = now + PAUSE_SECONDS
                raise
            finally:
                if is_suspect:
                    self._retrying.release()

    def _read(self, rows: Rows) -> Matrix:
        with self._reading():
            table = self._dataset.take(rows, columns=[VECTOR])
        vectors = _matrix(table.column(VECTOR).combine_chunks(), self.dimension)
        if len(vectors) != len(rows):
            raise OSError(errno.EIO, f"found {len(vectors)} vectors of {len(rows)} rows")
        return vectors


def vector_blocks(url: str, version: int) -> Iterator[memoryview]:
    """Yield all vectors of a table, float32, row by row.

    Args:
        url: path or URL of the table.
        version: its version.

    Raises:
        OSError: it cannot be read.
    """
    import lance

    with _os_errors():
        # Without READ_OPTIONS: a part of a table may take longer than a single vector.
        dataset = lance.dataset(url, version=version, storage_options=lance_options(url))
        for batch in dataset.to_batches(
            columns=[VECTOR],
            batch_size=_BLOCK_ROWS,
            batch_readahead=4,
            io_buffer_size=_READ_AHEAD_BYTES,
            scan_in_order=True,
        ):
            column = batch.column(VECTOR)
            yield _matrix(column, column.type.list_size).data


def _matrix(column: Any, dimension: int) -> Matrix:
    """Return a column of vectors as float32, (rows, dimension)."""
    values: NDArray[Any] = np.from_dlpack(column.flatten())
    return values.astype(np.float32, copy=False).reshape(-1, dimension)


@contextmanager
def _os_errors(kinds: tuple[type[Exception], ...] = (ValueError, RuntimeError)) -> Iterator[None]:
    """Raise an OSError for a failed read. Queries are valid: :class:`Index` has checked them.

    Lance panics on some damaged files. The exception of a panic is no Exception, and has no public class.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, kinds) and type(error).__name__ != "PanicException":
            raise
        reason = f"a table of vectors cannot be read: {error}"
        raise OSError(errno.EIO, reason) from error


class _VectorCache:
    """The vectors that were read last, in a fixed amount of memory. The oldest are replaced first."""

    def __init__(self, count: int, dimension: int, max_bytes: int) -> None:
        slots = min(count, max_bytes // (4 * dimension))
        self._vectors = np.empty((slots, dimension), np.float32)
        self._slot_of_row = np.full(count, -1, np.int32)
        self._row_of_slot = np.full(slots, -1, np.int64)
        self._next = 0
        self._lock = threading.Lock()

    def read(self, rows: Rows) -> tuple[Matrix, NDArray[np.bool_]]:
        """Return the vectors of rows, and a mask of those that are not cached."""
        vectors = np.empty((len(rows), self._vectors.shape[1]), np.float32)
        with self._lock:
            slots = self._slot_of_row[rows]
            is_cached = slots >= 0
            vectors[is_cached] = self._vectors[slots[is_cached]]
        return vectors, ~is_cached

    def add(self, rows: Rows, vectors: Matrix) -> None:
        """Add the vectors of distinct rows, unless they would replace all others."""
        if len(rows) > len(self._row_of_slot):
            return
        with self._lock:
            is_new = np.flatnonzero(self._slot_of_row[rows] < 0)
            if not len(is_new):
                return
            slots = (self._next + np.arange(len(is_new))) % len(self._row_of_slot)
            replaced = self._row_of_slot[slots]
            self._slot_of_row[replaced[replaced >= 0]] = -1
            self._slot_of_row[rows[is_new]] = slots
            self._row_of_slot[slots] = rows[is_new]
            self._vectors[slots] = vectors[is_new]
            self._next = int(slots[-1] + 1)


def row_bitmap(rows: Rows) -> bytes:
    """Return rows as a bitmap that Lance reads: a treemap with a roaring bitmap of the first fragment.

    The format is https://github.com/RoaringBitmap/RoaringFormatSpec. Each container holds the rows with the
    same upper 16 bits: a sorted list of the lower bits, or a mask if there are many.

    Args:
        rows: int64, (rows,), sorted and distinct, below 2^32.
    """
    keys = np.arange(rows[-1] // 65536 + 1) if len(rows) else np.empty(0, np.int64)
    ends = np.searchsorted(rows, (keys + 1) * 65536)
    counts = np.diff(ends, prepend=0)
    keys, ends, counts = (values[counts > 0] for values in (keys, ends, counts))
    containers = [
        _container((rows[end - count : end] % 65536).astype("<u2"))
        for end, count in zip(ends.tolist(), counts.tolist(), strict=True)
    ]
    sizes = np.array([len(container) for container in containers], np.int64)
    head = np.array([_NO_RUNS, len(keys)], "<u4").tobytes()
    head += np.stack([keys, counts - 1], axis=1).astype("<u2").tobytes()
    offsets = len(head) + 4 * len(keys) + np.cumsum(sizes) - sizes
    bitmap = b"".join([head, offsets.astype("<u4").tobytes(), *containers])
    return np.array([1, 0, len(bitmap)], "<u4").tobytes() + bitmap


def _container(values: NDArray[np.uint16]) -> bytes:
    if len(values) <= _SPARSE_ROWS:
        return values.tobytes()
    mask = np.zeros(65536, np.bool_)
    mask[values] = True
    return np.packbits(mask, bitorder="little").tobytes()
