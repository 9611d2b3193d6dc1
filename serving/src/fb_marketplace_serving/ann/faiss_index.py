"""FAISS indexes of all kinds, each with the exact vectors of its rows.

All kinds use squared L2 distances. ``flat`` compares a query with every row. The others select candidates
and compare the best of these exactly. ``ivf_sq8``, ``ivf_pq`` and ``ivf_rabitq`` search the clusters
nearest to the query, with vectors quantized to one byte, two bits or one bit per number (product
quantization with tables in registers: André et al., 2015; RaBitQ: Gao & Long, 2024). ``hnsw`` searches a
graph of neighbours (Malkov & Yashunin, 2018), with vectors projected on their leading principal axes and
quantized to one byte per number. If a photo has hundreds of copies, their links lead from copy to copy, so
some copies and some other photos may be unreachable.
"""

import io
import math
from functools import lru_cache, partial
from typing import Any, Final, Literal, Self, TypeAlias, get_args
from weakref import proxy

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.ann.candidate_source import MIN_REACH, Rows
from fb_marketplace_serving.storage.private_file import PrivateFile, register_mapping

Kind = Literal["flat", "ivf_pq", "ivf_rabitq", "ivf_sq8", "hnsw"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

PARAMS_CACHE_SIZE: Final = 64
"""Number of cached search parameters, one per number of rows and effort."""

EF_SEARCH_PER_ROW: Final = 3
"""Minimum efSearch per requested row, if more rows are requested than the settings were tuned for."""

EXACT_SHARE: Final = 0.25
EXACT_ROWS: Final = 20_000
"""If a filter passes at most this share of the rows, or at most this many, all of them are compared. This
takes up to a few times as long as the index. It is exact for the filters that reduce an index's recall
most."""

_MAX_INDEX_SHARE: Final = 10
"""If more than one row in this many is requested, all are compared: an index would visit most of them."""

_OVERSAMPLING: Final = 4
"""With a filter, this many times as many rows are fetched as would suffice if it passed rows at random. If
it still passes too few of them, all rows that it passes are compared."""

Settings: TypeAlias = dict[str, int]


class IndexMismatchError(ValueError):
    """An index that does not match its ids, or an index or ids that cannot be read."""


class FaissIndex:
    """A FAISS index of one of ``KINDS``. Its search parameters are saved in the index file.

    Attributes:
        kind: one of ``KINDS``.
        faiss_index: the wrapped FAISS index.
        exact: the ``faiss.IndexFlatL2`` inside it.
        matrix: float32, (rows, dimension), a view of the exact vectors. It is not aligned if the index is
            mapped.
    """

    def __init__(self, faiss_index: Any) -> None:
        """Wrap an index.

        Raises:
            IndexMismatchError: its kind is unknown, or its metric is not L2.
        """
        import faiss

        if faiss_index.metric_type != faiss.METRIC_L2:
            raise IndexMismatchError(
                f"found an index of metric {faiss_index.metric_type}; expected squared L2 "
                f"({faiss.METRIC_L2})"
            )
        self.faiss_index = faiss_index
        self.kind, self._base, self._coarse, self.exact = _parts(faiss_index)
        self._cached_params = lru_cache(PARAMS_CACHE_SIZE)(
            partial(FaissIndex._search_params, proxy(self))  # a reference to self would be a cycle
        )
        count, dimension = int(self.exact.ntotal), int(self.exact.d)
        self.matrix: NDArray[np.float32] = (
            faiss.rev_swig_ptr(self.exact.get_xb(), count * dimension).reshape(count, dimension)
            if count
            else np.empty((0, dimension), np.float32)
        )

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def dimension(self) -> int:
        """Number of dimensions of a vector."""
        return int(self.matrix.shape[1])

    @property
    def settings(self) -> Settings:
        """Build and search parameters, by FAISS's names."""
        if self.kind == "flat":
            return {}
        if self.kind == "hnsw":
            graph = self._coarse.hnsw
            settings = {
                "axes": self._coarse.d,
                "M": graph.nb_neighbors(1),
                "efConstruction": graph.efConstruction,
                "efSearch": graph.efSearch,
            }
        else:
            settings = {"nlist": self._coarse.nlist, "nprobe": self._coarse.nprobe}
        return settings | {"k_factor": round(self.faiss_index.k_factor)}

    @property
    def size_bytes(self) -> int:
        """Size of the serialized index, in bytes."""
        faiss = untyped_faiss()

        sizes: list[int] = []
        writer = faiss.PyCallbackIOWriter(lambda part: sizes.append(len(part)))
        faiss.write_index(self.faiss_index, writer)
        return sum(sizes)

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Open an index that :meth:`write` serialized.

        FAISS does not validate its input and can crash on it: verify the checksum first.

        Raises:
            IndexMismatchError: the bytes are not an index of a known kind.
        """
        faiss = untyped_faiss()

        # Through a callback, as in write: FAISS's functions for arrays copy all bytes once more.
        reader = faiss.PyCallbackIOReader(io.BytesIO(content).read)
        try:
            return cls(faiss.read_index(reader))
        except RuntimeError as error:
            raise IndexMismatchError(
                f"found {len(content):,} bytes that FAISS cannot read; expected a FAISS index"
            ) from error

    @classmethod
    def map(cls, file: PrivateFile) -> Self:
        """Open an index in a file. Only the parts that searches read are in memory.

        FAISS does not validate its input and can crash on it: verify the checksum first.

        Raises:
            IndexMismatchError: the file is not an index of a known kind.
        """
        faiss = untyped_faiss()

        try:
            index = cls(faiss.read_index(file.path, faiss.IO_FLAG_MMAP_IFC))
        except RuntimeError as error:
            raise IndexMismatchError(
                f"found {len(file.content):,} bytes that FAISS cannot read; expected a FAISS index"
            ) from error
        register_mapping(index, index.matrix.ctypes.data)
        return index

    def write(self) -> bytes:
        """Return the index in FAISS's format; the same bytes each time."""
        faiss = untyped_faiss()

        buffer = io.BytesIO()
        faiss.write_index(self.faiss_index, faiss.PyCallbackIOWriter(buffer.write))
        return buffer.getvalue()

    def set_search_params(self, settings: Settings) -> None:
        """Set search parameters. Parameters that are not given keep their values.

        Args:
            settings: ``nprobe``, clusters to search; ``k_factor``, candidates to compare exactly, as a
                multiple of the requested rows; ``efSearch``, size of the graph search's candidate list.
        """
        owners = {
            "nprobe": self._coarse,
            "k_factor": self.faiss_index,
            "efSearch": getattr(self._coarse, "hnsw", None),
        }
        for name, value in settings.items():
            setattr(owners[name], name, value)
        self._cached_params.cache_clear()

    def top(self, query: NDArray[np.float32], count: int, allowed: Rows | None = None) -> Rows:
        """Return the nearest rows, nearest first, by comparing all allowed rows or from the index.

        Args:
            query: float32, (1, dimension).
            count: number of rows, at most the number of allowed rows.
            allowed: the rows to search, sorted; None for all.

        Returns:
            int64, (count,).
        """
        return self.top_with_distances(query, count, allowed)[0]

    def top_with_distances(
        self, query: NDArray[np.float32], count: int, allowed: Rows | None = None
    ) -> tuple[Rows, NDArray[np.float32]]:
        """Return the rows of :meth:`top`, and their squared L2 distances, exact up to rounding."""
        few = max(EXACT_ROWS, EXACT_SHARE * len(self))
        reach = count
        if allowed is not None:
            reach = math.ceil(_OVERSAMPLING * count * len(self) / len(allowed))
        is_few = self.kind == "flat" or (allowed is not None and len(allowed) <= few)
        if not is_few and _MAX_INDEX_SHARE * reach <= len(self):
            # Search parameters were tuned for few rows, so the effort grows with the requested rows.
            effort = 1 + math.log10(reach / MIN_REACH)
            distances, rows = (part[0] for part in self._search(query, reach, effort))
            if allowed is not None or rows[-1] < 0:
                is_allowed = _is_allowed(rows, allowed)
                distances, rows = distances[is_allowed], rows[is_allowed]
            if len(rows) >= count:
                return rows[:count], distances[:count]
        params = None
        if allowed is not None:
            faiss = untyped_faiss()
            params = faiss.SearchParameters(sel=faiss.IDSelectorArray(allowed))
        distances, rows = self.exact.search(query, count, params=params)
        return rows[0], distances[0]

    def _search(
        self, queries: NDArray[np.float32], count: int, effort: float
    ) -> tuple[NDArray[np.float32], Rows]:
        """Return squared distances and approximately nearest rows, nearest first.

        Args:
            queries: float32, (queries, dimension).
            count: rows per query.
            effort: factor on ``nprobe`` or ``efSearch``; values up to one have no effect.

        Returns:
            float32 and int64, (queries, count); the row -1 in place of missing rows.
        """
        params = self._cached_params(count, effort) if effort > 1 else None
        distances, rows = self.faiss_index.search(queries, count, params=params)
        return distances, rows

    def _search_params(self, count: int, effort: float) -> Any:
        """Return FAISS's search parameters; see :meth:`_search`."""
        faiss = untyped_faiss()

        settings = self.settings
        if "efSearch" in settings:
            # Recall drops if many rows are requested: a setting with Recall@10 of 0.995 had Recall@300 of
            # 0.82. So efSearch grows with the requested rows.
            reach = max(math.ceil(settings["efSearch"] * effort), EF_SEARCH_PER_ROW * count)
            walk = faiss.SearchParametersHNSW(efSearch=reach)
            is_rotated = isinstance(self._base, faiss.IndexPreTransform)
            return faiss.IndexRefineSearchParameters(
                k_factor=min(settings["k_factor"], reach / count),
                base_index_params=(
                    faiss.SearchParametersPreTransform(index_params=walk) if is_rotated else walk
                ),
            )
        if "nprobe" in settings:
            # Far clusters matter more, the more rows are requested; with ivf_pq they cost little.
            growth = effort**1.5 if self.kind == "ivf_pq" else effort
            nprobe = min(settings["nlist"], math.ceil(settings["nprobe"] * growth))
            return faiss.IndexRefineSearchParameters(
                # The more rows are requested, the smaller is the share of them near the cutoff.
                k_factor=max(2.0, settings["k_factor"] / effort),
                base_index_params=faiss.SearchParametersIVF(nprobe=nprobe),
            )
        return None

    def nearest(self, queries: NDArray[np.float32], count: int) -> Rows:
        """Return the nearest rows by exhaustive search.

        Args:
            queries: float32, (queries, dimension).
            count: rows per query, at most the number of rows.

        Returns:
            int64, (queries, count).
        """
        rows: Rows = self.exact.search(queries, count)[1]
        return rows

    def within(
        self, query: NDArray[np.float32], radius: float, allowed: Rows | None = None
    ) -> Rows:
        """Return all rows within a radius by exhaustive search.

        Args:
            query: float32, (1, dimension).
            radius: squared L2 distance.
            allowed: the rows to compare; None for all.

        Returns:
            int64, (matches,), in no particular order.
        """
        faiss = untyped_faiss()

        params = None
        if allowed is not None:
            # Not an IDSelectorArray, which range_search scans linearly for each row.
            mask = np.zeros(len(self), dtype=np.bool_)
            mask[allowed] = True
            params = faiss.SearchParameters(
                sel=faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
            )
        rows: Rows = self.exact.range_search(query, radius, params=params)[2]
        return rows

    def locate(self, rows: Rows) -> tuple[NDArray[np.float32], Rows]:
        """Return all vectors, and the rows."""
        return self.matrix, rows

    def vectors(self, rows: Rows) -> NDArray[np.float32]:
        """Return a copy of some vectors: float32, (rows, dimension).

        They are copied as bytes. The matrix of a mapped index is not aligned, and NumPy would first copy
        all of it.
        """
        return np.take(self.matrix.view(np.uint8), rows, axis=0).view(np.float32)


def untyped_faiss() -> Any:
    """Return the module ``faiss`` as ``Any``: its type stubs lack the additions of its Python layer."""
    import faiss

    return faiss


def _is_allowed(rows: Rows, allowed: Rows | None) -> NDArray[np.bool_]:
    """Return a mask of the rows that exist (are not -1) and are allowed."""
    if allowed is None:
        return rows >= 0
    places = np.searchsorted(allowed, rows)
    mask: NDArray[np.bool_] = allowed[np.minimum(places, len(allowed) - 1)] == rows
    return mask


def _parts(index: Any) -> tuple[Kind, Any, Any, Any]:
    """Return an index's kind, its base index, the base index without its rotation, and its flat index."""
    import faiss

    if isinstance(index, faiss.IndexFlat):
        return "flat", index, index, index
    if isinstance(index, faiss.IndexRefine):
        base: Any = faiss.downcast_index(index.base_index)
        exact = faiss.downcast_index(index.refine_index)
        is_rotated = isinstance(base, faiss.IndexPreTransform)
        coarse = faiss.downcast_index(base.index) if is_rotated else base
        kinds: tuple[tuple[Kind, Any], ...] = (
            ("ivf_pq", faiss.IndexIVFPQFastScan),
            ("ivf_sq8", faiss.IndexIVFScalarQuantizer),
            ("ivf_rabitq", faiss.IndexIVFRaBitQ),
            ("hnsw", faiss.IndexHNSWSQ),
        )
        for kind, type_ in kinds:
            if isinstance(coarse, type_) and isinstance(exact, faiss.IndexFlat):
                return kind, base, coarse, exact
    raise IndexMismatchError(
        f"found a FAISS index of type {type(index).__name__}; expected one of the kinds "
        f"{', '.join(KINDS)}. Rerun `kedro run --pipeline=indexing`."
    )
