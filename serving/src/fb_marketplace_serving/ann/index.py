"""Vectors in, their nearest neighbours out: a FAISS index and the ids of its rows, one version.

The two travel as two files and are only ever held together, so that no row gets another row's name: the ids
carry the digest of the index that they belong to.
"""

import hashlib
import io
from collections.abc import Sequence, Set
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fb_marketplace_serving.ann.build import flat_index, is_finite_norm
from fb_marketplace_serving.ann.faiss_index import FaissIndex, IndexMismatchError, Kind
from fb_marketplace_serving.ann.knn import exact_distances, filter_to_rows, nearest_neighbors

__all__ = ["Index", "IndexMismatchError", "Neighbors"]

ID_COLUMNS: Final = ("image_id", "product_id")
SHA256, COUNT, DIMENSION = b"index_sha256", b"index_count", b"index_dimension"
"""What the ids say of their index, in the metadata of the Parquet file."""


class Neighbors(NamedTuple):
    """The rows nearest to a query, nearest first; of n queries, both (n, k), of one, both (k,).

    Attributes:
        rows: int64, positions in ``image_ids`` and ``product_ids``.
        distances: float32, squared L2; between unit vectors, 2 - 2 cos.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.float32]


class Index:
    """An index and the ids of its rows. Safe to search from many threads at once.

    Attributes:
        image_ids: the photo of each row.
        product_ids: the listing of each row.
    """

    def __init__(
        self, vectors: FaissIndex, image_ids: Sequence[str], product_ids: Sequence[str]
    ) -> None:
        """Join an index and its ids; see :meth:`build_flat` and :meth:`from_bytes`.

        Raises:
            IndexMismatchError: they are not as many.
        """
        counts = (len(vectors), len(image_ids), len(product_ids))
        if len(set(counts)) != 1:
            raise IndexMismatchError(
                f"found {counts[0]:,} vectors, {counts[1]:,} image ids and {counts[2]:,} product "
                "ids; expected as many of each: the index and its ids are of different versions"
            )
        self._vectors = vectors
        self.image_ids = tuple(image_ids)
        self.product_ids = tuple(product_ids)

    @classmethod
    def build_flat(
        cls,
        embeddings: NDArray[np.float32],
        image_ids: Sequence[str],
        product_ids: Sequence[str],
    ) -> Self:
        """Index vectors for exact search.

        Args:
            embeddings: float32, (n, dimension).
            image_ids: the photo of each row.
            product_ids: the listing of each row.

        Raises:
            IndexMismatchError: there are not as many ids as vectors.
            ValueError: the embeddings are no matrix of finite numbers.
        """
        return cls(FaissIndex(flat_index([embeddings])), image_ids, product_ids)

    @classmethod
    def from_bytes(cls, index: bytes, ids: bytes) -> Self:
        """Open what :meth:`to_bytes` gave.

        FAISS trusts what it reads, and can be made to crash by it: it gets to see only bytes of the digest
        that the ids were written with. Check the digest of the ids before they come here.

        Args:
            index: a serialised FAISS index of one of the kinds.
            ids: Parquet with the columns ``image_id`` and ``product_id``, in row order.

        Raises:
            IndexMismatchError: one of them cannot be read, or they do not belong together.
        """
        told, image_ids, product_ids = _read_ids(ids)
        sha256 = hashlib.sha256(index).hexdigest()
        if sha256 != told[SHA256]:
            raise IndexMismatchError(
                f"found {len(index):,} bytes of index, sha256 {sha256[:12]}…; its ids expect "
                f"sha256 {told[SHA256][:12]}…: take both from one run of the pipeline indexing"
            )
        vectors = FaissIndex.read(index)
        found = (str(len(vectors)), str(vectors.dimension))
        if found != (told[COUNT], told[DIMENSION]):
            raise IndexMismatchError(
                f"found {found[0]} vectors of {found[1]} numbers; its ids expect {told[COUNT]} of "
                f"{told[DIMENSION]}: take both from one run of the pipeline indexing"
            )
        return cls(vectors, image_ids, product_ids)

    def to_bytes(self) -> tuple[bytes, bytes]:
        """Give the index as FAISS serialises it, its ids as Parquet; the same bytes each time."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        index = self._vectors.write()
        ids = pa.table(
            {
                "image_id": pa.array(self.image_ids, pa.string()),
                "product_id": pa.array(self.product_ids, pa.string()),
            }
        ).replace_schema_metadata(
            {
                SHA256: hashlib.sha256(index).hexdigest(),
                COUNT: str(len(self)),
                DIMENSION: str(self.dimension),
            }
        )
        buffer = io.BytesIO()
        pq.write_table(ids, buffer, compression="zstd")
        return index, buffer.getvalue()

    @property
    def kind(self) -> Kind:
        """How it finds what is near."""
        return self._vectors.kind

    @property
    def dimension(self) -> int:
        """Size of a vector."""
        return self._vectors.dimension

    def __len__(self) -> int:
        return len(self.image_ids)

    def search(
        self, query: NDArray[np.float32], k: int, keep: ArrayLike | Set[int] | None = None
    ) -> Neighbors:
        """Find the k nearest rows, or all of them where there are fewer; of equals the lower rows.

        Distances are exact whichever the kind of index. A filter that keeps no more than a quarter of the
        rows is answered exactly too, by comparing those that it keeps.

        Args:
            query: float32, (dimension,) or (n, dimension).
            k: how many, at least one.
            keep: a filter: bool, a value for each row; or the rows that are kept, as integers, which are
                positions in ``image_ids``, not ids.

        Raises:
            ValueError: the query is of another dimension, not finite or too long for its distances to be,
                k is less than one, or the filter is no filter of these rows.
        """
        if query.ndim not in (1, 2) or query.shape[-1] != self.dimension:
            raise ValueError(
                f"found a query of shape {query.shape}; expected ({self.dimension},) or "
                f"(n, {self.dimension})"
            )
        if k < 1:
            raise ValueError(f"found k = {k}; expected at least 1")
        queries = np.atleast_2d(query)
        wrong = len(queries) - int(is_finite_norm(queries).sum())
        if wrong:
            raise ValueError(
                f"found {wrong:,} queries with numbers that are not finite, or as large as 1e15; "
                "expected vectors, best of length one"
            )
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        kept = None if keep is None else filter_to_rows(keep, len(self))
        rows, distances = nearest_neighbors(self._vectors, queries, k, kept)
        return Neighbors(rows[0], distances[0]) if query.ndim == 1 else Neighbors(rows, distances)

    def cosines(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Say how like a query some rows are, both of length one: float32, (rows,).

        Args:
            query: float32, (dimension,).
            rows: int64, (rows,), positions in ``image_ids``.
        """
        half = exact_distances(self._vectors.matrix, query[np.newaxis], rows) / np.float32(2)
        return np.float32(1) - half

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give the vectors of some rows: float32, (rows, dimension)."""
        return self._vectors.matrix[rows]


def _read_ids(ids: bytes) -> tuple[dict[bytes, str], list[str], list[str]]:
    """Read ids, and what they say of the index that they belong to."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table: Any = pq.ParquetFile(io.BytesIO(ids)).read()
    except (pa.ArrowInvalid, OSError) as error:
        raise IndexMismatchError(
            f"found {len(ids):,} bytes of ids that are no Parquet ({error})"
        ) from error
    if tuple(table.column_names) != ID_COLUMNS:
        raise IndexMismatchError(f"found ids with {table.column_names}; expected {ID_COLUMNS}")
    metadata = table.schema.metadata or {}
    if not metadata.keys() >= {SHA256, COUNT, DIMENSION}:
        raise IndexMismatchError(
            "found ids that do not say which index they belong to; expected its digest: they were "
            "made by an older version: run the pipeline indexing again"
        )
    told = {name: metadata[name].decode("ascii", "replace") for name in (SHA256, COUNT, DIMENSION)}
    image_ids, product_ids = (table.column(name).to_pylist() for name in ID_COLUMNS)
    return told, image_ids, product_ids
