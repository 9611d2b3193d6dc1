"""Nearest-neighbor index with the ids of its rows.

Index and ids are two files. The ids carry the digest of their index, so that files of different versions
are never combined.
"""

import hashlib
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fb_marketplace_serving.ann.build import MAX_NORM, flat_index, is_finite_norm
from fb_marketplace_serving.ann.candidate_source import CandidateSource, Rows
from fb_marketplace_serving.ann.faiss_index import FaissIndex, IndexMismatchError, Kind
from fb_marketplace_serving.ann.knn import (
    filter_to_rows,
    inner_products,
    nearest_neighbors,
    nearest_rows,
)
from fb_marketplace_serving.ann.vector_table import VectorTable
from fb_marketplace_serving.storage.columns import IdColumn, column_of
from fb_marketplace_serving.storage.parquet import read_parquet, write_parquet
from fb_marketplace_serving.storage.private_file import Content, PrivateFile

__all__ = ["Index", "IndexMismatchError", "Neighbors"]

ID_COLUMNS: Final = ("image_id", "product_id")
MAX_TABLE_ROWS: Final = 4096
"""Neighbors that are requested from a table at most to find distinct listings. To rank k of them, a table
reads a multiple of k rows from the lake, and all that are exactly as similar as the last."""

SHA256, COUNT, DIMENSION = b"index_sha256", b"index_count", b"index_dimension"
"""Keys of the Parquet metadata of the ids, which describe their index."""


class Neighbors(NamedTuple):
    """The rows nearest to a query, nearest first. Arrays are (k,), or (n, k) for n queries.

    Attributes:
        rows: int64, positions in ``image_ids`` and ``product_ids``.
        distances: float32, squared L2; between unit vectors, 2 - 2 cos.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.float32]


class Index:
    """Vectors, in a FAISS index or another source, and the ids of their rows. Thread-safe.

    Attributes:
        source: the vectors.
        image_ids: the photo of each row.
        product_ids: the listing of each row.
    """

    def __init__(
        self, vectors: CandidateSource, image_ids: Sequence[str], product_ids: Sequence[str]
    ) -> None:
        """Join an index and its ids; see :meth:`build_flat` and :meth:`from_bytes`.

        Raises:
            IndexMismatchError: their lengths differ.
        """
        counts = (len(vectors), len(image_ids), len(product_ids))
        if len(set(counts)) != 1:
            raise IndexMismatchError(
                f"found {counts[0]:,} vectors, {counts[1]:,} image ids and {counts[2]:,} product "
                "ids; expected equal numbers. The index and its ids come from different versions."
            )
        self.source = vectors
        self.image_ids = IdColumn.from_ids(image_ids)
        self.product_ids = IdColumn.from_ids(product_ids)

    @classmethod
    def build_flat(
        cls,
        embeddings: NDArray[np.float32],
        image_ids: Sequence[str],
        product_ids: Sequence[str],
    ) -> Self:
        """Build an index for exact search.

        Args:
            embeddings: float32, (n, dimension).
            image_ids: the photo of each row.
            product_ids: the listing of each row.

        Raises:
            IndexMismatchError: the numbers of ids and vectors differ.
            ValueError: the embeddings are not a matrix of finite numbers.
        """
        return cls(FaissIndex(flat_index([embeddings])), image_ids, product_ids)

    @classmethod
    def empty(cls) -> Self:
        """Build an index without rows."""
        return cls.build_flat(np.empty((0, 1), np.float32), (), ())

    @classmethod
    def from_bytes(
        cls, index: bytes | PrivateFile, ids: Content, folder: Path | None = None
    ) -> Self:
        """Open the bytes of :meth:`to_bytes`.

        FAISS does not validate its input and can crash on it. So it only reads bytes whose SHA-256 is
        recorded in the ids. Verify the checksum of the ids before this call.

        Args:
            index: a serialized FAISS index of one of the kinds; it is mapped if it is a file.
            ids: Parquet with the columns ``image_id`` and ``product_id``, in row order.
            folder: folder for a private file that holds the ids; None to hold them in memory.

        Raises:
            IndexMismatchError: one of them cannot be read, or they do not belong together.
            OSError: the folder cannot be written, or the disk is full.
        """
        metadata, image_ids, product_ids = _read_ids(ids, folder)
        content = index if isinstance(index, bytes) else index.content
        # A file is not hashed again: that would read all of it into memory.
        verified = None if isinstance(index, bytes) else index.sha256
        sha256 = verified or hashlib.sha256(content).hexdigest()
        _check_digest(metadata, sha256, f"an index of {len(content):,} bytes")
        vectors = FaissIndex.read(index) if isinstance(index, bytes) else FaissIndex.map(index)
        _check_shape(metadata, vectors)
        return cls(vectors, image_ids, product_ids)

    @classmethod
    def from_table(
        cls, table: CandidateSource, sha256: str, ids: Content, folder: Path | None = None
    ) -> Self:
        """Join a table of vectors and the ids of the index that they are from.

        Args:
            table: the vectors, in the order of the index.
            sha256: checksum of the index.
            ids: see :meth:`from_bytes`.
            folder: folder for a private file that holds the ids; None to hold them in memory.

        Raises:
            IndexMismatchError: the ids cannot be read, or belong to another index.
            OSError: the folder cannot be written, or the disk is full.
        """
        metadata, image_ids, product_ids = _read_ids(ids, folder)
        _check_digest(metadata, sha256, "a table of an index")
        _check_shape(metadata, table)
        return cls(table, image_ids, product_ids)

    def to_bytes(self) -> tuple[bytes, bytes]:
        """Return a FAISS index in FAISS's format and its ids as Parquet; the same bytes each time."""
        import pyarrow as pa

        index = self._faiss.write()
        ids = pa.table(
            {
                "image_id": self.image_ids.array,
                "product_id": self.product_ids.array,
            }
        ).replace_schema_metadata(
            {
                SHA256: hashlib.sha256(index).hexdigest(),
                COUNT: str(len(self)),
                DIMENSION: str(self.dimension),
            }
        )
        return index, write_parquet(ids)

    @property
    def kind(self) -> Kind:
        """Kind of a FAISS index."""
        return self._faiss.kind

    @property
    def _faiss(self) -> FaissIndex:
        if not isinstance(self.source, FaissIndex):
            raise TypeError(
                f"found vectors in a {type(self.source).__name__}; expected a FaissIndex"
            )
        return self.source

    @property
    def dimension(self) -> int:
        """Number of dimensions of a vector."""
        return self.source.dimension

    @property
    def max_rows(self) -> int:
        """Number of rows after which no more are worth fetching: all, unless they are read from a table."""
        return MAX_TABLE_ROWS if isinstance(self.source, VectorTable) else len(self)

    def __len__(self) -> int:
        return len(self.image_ids)

    def search(
        self,
        query: NDArray[np.float32],
        k: int,
        filter: ArrayLike | Set[int] | None = None,  # noqa: A002
    ) -> Neighbors:
        """Return the k nearest rows, or all if there are fewer; ties go to the lower row.

        Distances are exact for every kind of index. If a filter passes at most a quarter of the rows, or
        at most 20,000, all of these are compared, so the result is exact.

        Args:
            query: float32, (dimension,) or (n, dimension).
            k: number of rows, at least one.
            filter: bool, (rows,); or integers, the rows (positions in ``image_ids``) to search.

        Returns:
            Rows and squared L2 distances: (k,), or (n, k) for n queries.

        Raises:
            ValueError: the query has another dimension or is not finite, k is below one, or the filter
                does not fit the rows.
        """
        queries, allowed = self._validated(query, k, filter)
        rows, distances = nearest_neighbors(self.source, queries, k, allowed)
        return Neighbors(rows[0], distances[0]) if query.ndim == 1 else Neighbors(rows, distances)

    def nearest(
        self,
        query: NDArray[np.float32],
        k: int,
        filter: ArrayLike | Set[int] | None = None,  # noqa: A002
    ) -> Rows:
        """Return the rows of :meth:`search` for one query, without their distances, in half the time.

        Args:
            query: float32, (dimension,).
            k: number of rows, at least one.
            filter: see :meth:`search`.

        Returns:
            int64, (k,), nearest first; fewer if the index has fewer rows, or the filter passes fewer.

        Raises:
            ValueError: there are several queries; or see :meth:`search`.
        """
        if query.ndim != 1:
            raise ValueError(
                f"found a query of shape {query.shape}; expected ({self.dimension},). Use search() for "
                "several queries."
            )
        queries, allowed = self._validated(query, k, filter)
        return nearest_rows(self.source, queries, k, allowed)

    def _validated(
        self,
        query: NDArray[np.float32],
        k: int,
        filter: ArrayLike | Set[int] | None,  # noqa: A002
    ) -> tuple[NDArray[np.float32], Rows | None]:
        """Return the queries as a matrix, and the rows that a filter passes; see :meth:`search`."""
        if query.ndim not in (1, 2) or query.shape[-1] != self.dimension:
            raise ValueError(
                f"found a query of shape {query.shape}; expected ({self.dimension},) or "
                f"(n, {self.dimension})"
            )
        if k < 1:
            raise ValueError(f"found k = {k}; expected at least 1")
        queries = query[np.newaxis] if query.ndim == 1 else query
        if query.ndim == 1 and query.dtype == np.float32:
            invalid = 0 if query.dot(query) < MAX_NORM else 1
        else:
            invalid = len(queries) - int(is_finite_norm(queries).sum())
        if invalid:
            raise ValueError(
                f"found {invalid:,} queries with values that are not finite, or of 1e15 and more; "
                "expected finite vectors, preferably of unit length"
            )
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        return queries, None if filter is None else filter_to_rows(filter, len(self))

    def cosines(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Compute the cosine similarities of a query and some rows. All vectors must be unit vectors.

        Args:
            query: float32, (dimension,).
            rows: int64, (rows,), positions in ``image_ids``.

        Returns:
            float32, (rows,).

        Raises:
            ValueError: the query has another dimension.
            IndexError: a row does not exist.
        """
        return inner_products(self.source, query, rows)

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of some rows: float32, (rows, dimension)."""
        return self.source.vectors(rows)


def _check_digest(metadata: dict[bytes, str], sha256: str, name: str) -> None:
    if sha256 != metadata[SHA256]:
        raise IndexMismatchError(
            f"found {name}, sha256 {sha256[:12]}…; its ids expect sha256 {metadata[SHA256][:12]}…. Use "
            "both files of one run of `kedro run --pipeline=indexing`."
        )


def _check_shape(metadata: dict[bytes, str], vectors: CandidateSource) -> None:
    shape = (str(len(vectors)), str(vectors.dimension))
    if shape != (metadata[COUNT], metadata[DIMENSION]):
        raise IndexMismatchError(
            f"found {shape[0]} vectors of dimension {shape[1]}; their ids expect {metadata[COUNT]} of "
            f"dimension {metadata[DIMENSION]}. Use both files of one run of "
            "`kedro run --pipeline=indexing`."
        )


def _read_ids(
    ids: Content, folder: Path | None
) -> tuple[dict[bytes, str], Sequence[str], Sequence[str]]:
    """Return the metadata about the index, the image ids and the product ids."""
    table: Any = read_parquet(ids, ID_COLUMNS, IndexMismatchError, folder)
    recorded = table.schema.metadata or {}
    keys = (SHA256, COUNT, DIMENSION)
    if not recorded.keys() >= set(keys):
        raise IndexMismatchError(
            "found ids without the digest of their index in the metadata. Rerun "
            "`kedro run --pipeline=indexing`."
        )
    metadata = {key: recorded[key].decode("ascii", "replace") for key in keys}
    image_ids, product_ids = (IdColumn(column_of(table, name)) for name in ID_COLUMNS)
    return metadata, image_ids, product_ids
