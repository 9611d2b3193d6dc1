"""Vectors in, their nearest neighbours out: a FAISS index and the ids of its rows, one version.

The two travel as two files and are only ever held together, so that no row gets another row's name.
"""

import io
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

ID_COLUMNS: Final = ("image_id", "product_id")


class IndexMismatch(ValueError):  # noqa: N818 - says what is wrong better than an Error would
    """An index and ids that do not belong together, or cannot be read."""


class Neighbours(NamedTuple):
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

    def __init__(self, vectors: Any, image_ids: Sequence[str], product_ids: Sequence[str]) -> None:
        """Join a ``faiss.Index`` and its ids; see :meth:`build_flat` and :meth:`from_bytes`.

        Raises:
            IndexMismatch: they are not as many, or the index measures something else than L2.
        """
        import faiss

        counts = (vectors.ntotal, len(image_ids), len(product_ids))
        if len(set(counts)) != 1:
            raise IndexMismatch(
                f"found {counts[0]:,} vectors, {counts[1]:,} image ids and {counts[2]:,} product "
                "ids; expected as many of each: the index and its ids are of different versions"
            )
        if vectors.metric_type != faiss.METRIC_L2:
            raise IndexMismatch(
                f"found an index of metric {vectors.metric_type}; expected squared L2 "
                f"({faiss.METRIC_L2})"
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
            IndexMismatch: there are not as many ids as vectors.
            ValueError: the embeddings are no matrix of finite numbers.
        """
        import faiss

        if embeddings.ndim != 2 or not np.isfinite(embeddings).all():
            raise ValueError(
                f"found embeddings of shape {embeddings.shape}, "
                f"{int((~np.isfinite(embeddings)).sum()):,} of their numbers not finite; "
                "expected (n, dimension), all finite"
            )
        vectors = faiss.IndexFlatL2(embeddings.shape[1])
        vectors.add(np.ascontiguousarray(embeddings, dtype=np.float32))
        return cls(vectors, image_ids, product_ids)

    @classmethod
    def from_bytes(cls, index: bytes, ids: bytes) -> Self:
        """Open what :meth:`to_bytes` gave.

        FAISS trusts what it reads: check the digest of the bytes before they come here.

        Args:
            index: a serialised FAISS index of any kind that measures L2.
            ids: Parquet with the columns ``image_id`` and ``product_id``, in row order.

        Raises:
            IndexMismatch: one of them cannot be read, or they do not belong together.
        """
        import faiss
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            vectors = faiss.deserialize_index(np.frombuffer(index, dtype=np.uint8))
        except RuntimeError as error:
            raise IndexMismatch(
                f"found {len(index):,} bytes that FAISS cannot read; expected a FAISS index"
            ) from error
        try:
            table = pq.read_table(io.BytesIO(ids))
        except (pa.ArrowInvalid, OSError) as error:
            raise IndexMismatch(
                f"found {len(ids):,} bytes of ids that are no Parquet ({error})"
            ) from error
        if tuple(table.column_names) != ID_COLUMNS:
            raise IndexMismatch(f"found ids with {table.column_names}; expected {ID_COLUMNS}")
        image_ids, product_ids = (table.column(name).to_pylist() for name in ID_COLUMNS)
        return cls(vectors, image_ids, product_ids)

    def to_bytes(self) -> tuple[bytes, bytes]:
        """Give the index as FAISS serialises it, its ids as Parquet; the same bytes each time."""
        import faiss
        import pyarrow as pa
        import pyarrow.parquet as pq

        ids = pa.table(
            {
                "image_id": pa.array(self.image_ids, pa.string()),
                "product_id": pa.array(self.product_ids, pa.string()),
            }
        )
        buffer = io.BytesIO()
        pq.write_table(ids, buffer, compression="zstd")
        return faiss.serialize_index(self._vectors).tobytes(), buffer.getvalue()

    @property
    def dimension(self) -> int:
        """Size of a vector."""
        return int(self._vectors.d)

    def __len__(self) -> int:
        return len(self.image_ids)

    def search(self, query: NDArray[np.float32], k: int) -> Neighbours:
        """Find the k nearest rows, or all of them where there are fewer.

        Args:
            query: float32, (dimension,) or (n, dimension).
            k: how many, at least one.

        Raises:
            ValueError: the query is of another dimension, or k is less than one.
        """
        if query.ndim not in (1, 2) or query.shape[-1] != self.dimension:
            raise ValueError(
                f"found a query of shape {query.shape}; expected ({self.dimension},) or "
                f"(n, {self.dimension})"
            )
        if k < 1:
            raise ValueError(f"found k = {k}; expected at least 1")
        queries = np.ascontiguousarray(np.atleast_2d(query), dtype=np.float32)
        k = min(k, len(self))
        if k == 0 or len(queries) == 0:
            rows = np.empty((len(queries), k), np.int64)
            distances = np.empty((len(queries), k), np.float32)
        else:
            distances, rows = self._search_on_one_thread(queries, k)
        return Neighbours(rows[0], distances[0]) if query.ndim == 1 else Neighbours(rows, distances)

    def _search_on_one_thread(
        self, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Search with one OpenMP thread: many make a query of 16 ms one of 80 on a busy machine.

        OpenMP keeps this number for each calling thread, so it is set, and put back, by each call.
        """
        import faiss

        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        try:
            distances, rows = self._vectors.search(queries, k)
        finally:
            faiss.omp_set_num_threads(before)
        return distances, rows
