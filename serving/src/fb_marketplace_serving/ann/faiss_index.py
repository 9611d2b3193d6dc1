"""The kinds of FAISS index that are built and opened, each with the exact vectors of its rows.

Every kind measures squared L2. ``flat`` compares a query with every row. The others first pick
candidates, and compare the best of those exactly. ``ivf_sq8`` and ``ivf_rabitq`` look through the few
clusters nearest to the query, at vectors of a byte or a bit a number (RaBitQ: Gao & Long, 2024). ``hnsw``
walks a graph of neighbours (Malkov & Yashunin, 2018), whose vectors are turned to their principal axes;
only the leading ones are kept, at a byte a number. Among hundreds of copies of one photo its links lead
from copy to copy, so that some copies, and other photos as well, may be out of reach. All of them hold the
vectors themselves, in full, so that any can also answer exactly.
"""

import io
import math
from typing import Any, Final, Literal, Self, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

Kind = Literal["flat", "ivf_sq8", "ivf_rabitq", "hnsw"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

VIEW: Final = 3
"""Nodes of the graph that are kept in view for each row that is wanted, where more rows are wanted than the
settings were chosen for."""

Rows: TypeAlias = NDArray[np.int64]
Settings: TypeAlias = dict[str, int]


class IndexMismatchError(ValueError):
    """An index and ids that do not belong together, or cannot be read."""


class FaissIndex:
    """A FAISS index of one of the kinds. What it is set to travels in FAISS's own file.

    Attributes:
        kind: which.
        faiss_index: the index.
        exact: the ``faiss.IndexFlatL2`` in it.
        matrix: float32, (rows, dimension), a view of the exact vectors.
    """

    def __init__(self, faiss_index: Any) -> None:
        """Tell the kind of an index.

        Raises:
            IndexMismatchError: it is of no kind that is known here, or measures something else than L2.
        """
        import faiss

        if faiss_index.metric_type != faiss.METRIC_L2:
            raise IndexMismatchError(
                f"found an index of metric {faiss_index.metric_type}; expected squared L2 "
                f"({faiss.METRIC_L2})"
            )
        self.faiss_index = faiss_index
        self.kind, self._base, self._coarse, self.exact = _parts(faiss_index)
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
        """Size of a vector."""
        return int(self.matrix.shape[1])

    @property
    def settings(self) -> Settings:
        """What it was built with and how far it looks, by FAISS's names."""
        match self.kind:
            case "flat":
                return {}
            case "hnsw":
                graph = self._coarse.hnsw
                return {
                    "axes": self._coarse.d,
                    "M": graph.nb_neighbors(1),
                    "efConstruction": graph.efConstruction,
                    "efSearch": graph.efSearch,
                    "k_factor": round(self.faiss_index.k_factor),
                }
        return {
            "nlist": self._coarse.nlist,
            "nprobe": self._coarse.nprobe,
            "k_factor": round(self.faiss_index.k_factor),
        }

    @property
    def size_bytes(self) -> int:
        """Size of the file that it would be written to."""
        faiss = untyped_faiss()

        sizes: list[int] = []
        writer = faiss.PyCallbackIOWriter(lambda part: sizes.append(len(part)))
        faiss.write_index(self.faiss_index, writer)
        return sum(sizes)

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Open what :meth:`write` gave; FAISS trusts it.

        Raises:
            IndexMismatchError: it is no index, or of no kind that is known here.
        """
        faiss = untyped_faiss()

        # By parts, as FAISS would copy the whole before it reads it, and again when it writes it.
        reader = faiss.PyCallbackIOReader(io.BytesIO(content).read)
        try:
            return cls(faiss.read_index(reader))
        except RuntimeError as error:
            raise IndexMismatchError(
                f"found {len(content):,} bytes that FAISS cannot read; expected a FAISS index"
            ) from error

    def write(self) -> bytes:
        """Give the index as FAISS writes it; the same bytes each time."""
        faiss = untyped_faiss()

        buffer = io.BytesIO()
        faiss.write_index(self.faiss_index, faiss.PyCallbackIOWriter(buffer.write))
        return buffer.getvalue()

    def look(self, settings: Settings) -> None:
        """Set how far a search looks.

        Args:
            settings: ``nprobe``, clusters that are looked through; ``k_factor``, rows that are compared
                exactly, as a multiple of those that are wanted; ``efSearch``, nodes of the graph that are
                kept in view. What is not named stays.
        """
        owners = {
            "nprobe": self._coarse,
            "k_factor": self.faiss_index,
            "efSearch": getattr(self._coarse, "hnsw", None),
        }
        for name, value in settings.items():
            setattr(owners[name], name, value)

    def candidates(self, queries: NDArray[np.float32], count: int, further: float = 1.0) -> Rows:
        """Give rows that are probably the nearest, in order: (queries, count), -1 where none was found.

        Args:
            queries: float32, (queries, dimension).
            count: how many rows a query.
            further: how many times further than it is set to it looks.
        """
        faiss = untyped_faiss()

        settings = self.settings if further > 1 else {}
        if "efSearch" in settings:
            # At the edge of its view a graph misses much, so the view has to grow with what is wanted: of
            # 300 rows it found 0.82 with a setting that found 0.995 of ten.
            reach = max(math.ceil(settings["efSearch"] * further), VIEW * count)
            walk = faiss.SearchParametersHNSW(efSearch=reach)
            turned = isinstance(self._base, faiss.IndexPreTransform)
            told = faiss.IndexRefineSearchParameters(
                k_factor=min(settings["k_factor"], reach / count),
                base_index_params=(
                    faiss.SearchParametersPreTransform(index_params=walk) if turned else walk
                ),
            )
        elif "nprobe" in settings:
            nprobe = min(settings["nlist"], math.ceil(settings["nprobe"] * further))
            told = faiss.IndexRefineSearchParameters(
                # The more are wanted, the smaller the part of them that stands at the edge.
                k_factor=max(2.0, settings["k_factor"] / further),
                base_index_params=faiss.SearchParametersIVF(nprobe=nprobe),
            )
        else:
            told = None
        return _rows(self.faiss_index.search(queries, count, params=told))

    def nearest(self, queries: NDArray[np.float32], count: int, kept: Rows | None = None) -> Rows:
        """Give the nearest rows, compared with every one: (queries, count).

        Args:
            queries: float32, (queries, dimension).
            count: how many rows a query, no more than there are.
            kept: the rows that may be given.
        """
        faiss = untyped_faiss()

        if kept is None:
            return _rows(self.exact.search(queries, count))
        told = faiss.SearchParameters(sel=faiss.IDSelectorArray(kept))
        return _rows(self.exact.search(queries, count, params=told))

    def within(self, query: NDArray[np.float32], radius: float, kept: Rows | None = None) -> Rows:
        """Give all rows that are nearer than a radius, compared with every one, in no order.

        Args:
            query: float32, (1, dimension).
            radius: squared L2.
            kept: the rows that may be given.
        """
        faiss = untyped_faiss()

        told = None
        if kept is not None:
            # Not by an IDSelectorArray, which is looked through from its start for each row.
            mask = np.zeros(len(self), dtype=np.bool_)
            mask[kept] = True
            told = faiss.SearchParameters(
                sel=faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
            )
        rows: Rows = self.exact.range_search(query, radius, params=told)[2]
        return rows


def untyped_faiss() -> Any:
    """Give FAISS without its stubs, which lack what its Python side adds."""
    import faiss

    return faiss


def _rows(found: tuple[NDArray[np.float32], Rows]) -> Rows:
    return found[1]


def _parts(index: Any) -> tuple[Kind, Any, Any, Any]:
    """Give the kind of an index, what picks candidates in it, that without what vectors are turned by, and
    what holds the exact vectors.
    """
    import faiss

    if isinstance(index, faiss.IndexFlat):
        return "flat", index, index, index
    if isinstance(index, faiss.IndexRefine):
        base: Any = faiss.downcast_index(index.base_index)
        exact = faiss.downcast_index(index.refine_index)
        turned = isinstance(base, faiss.IndexPreTransform)
        coarse = faiss.downcast_index(base.index) if turned else base
        kinds: tuple[tuple[Kind, Any], ...] = (
            ("ivf_sq8", faiss.IndexIVFScalarQuantizer),
            ("ivf_rabitq", faiss.IndexIVFRaBitQ),
            ("hnsw", faiss.IndexHNSWSQ),
        )
        for kind, of in kinds:
            if isinstance(coarse, of) and isinstance(exact, faiss.IndexFlat):
                return kind, base, coarse, exact
    raise IndexMismatchError(
        f"found a FAISS index of type {type(index).__name__}; expected one of the kinds "
        f"{', '.join(KINDS)}: run the pipeline indexing again"
    )
