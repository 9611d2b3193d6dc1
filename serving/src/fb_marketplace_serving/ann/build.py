"""Vectors to an index of each kind, by parts, with the same bytes each time.

All kinds are made from one ``faiss.IndexFlatL2`` and hold on to it, so that the vectors are in memory once.
Quantisers are trained once, on a sample; parts are added each to a
copy of what was trained, and merged. FAISS is held to one thread, so that no sum depends on how many there
are.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.ann.faiss_index import FaissIndex, Kind, Settings, untyped_faiss
from fb_marketplace_serving.ann.knn import limit_faiss_threads

MAX_NORM: Final = 1e30
"""Squared length that a vector has to stay below."""

PART_ROWS: Final = 50_000

MAX_TRAINING_VECTORS: Final = 64
"""Rows a cluster that k-means sees. FAISS warns below 39."""

KMEANS_ITERATIONS: Final = 10
"""Of k-means."""

HNSW_M: Final = 16
"""M of the graph. At the same recall 32 is slower (``benchmarks/search.py``)."""

HNSW_EF_CONSTRUCTION: Final = 100
"""efConstruction of the graph."""

SPREAD_KEPT: Final = 0.94
"""Share of the variance that the axes of the graph's vectors keep. The walk picks candidates only: with 96
of 256 axes, at a byte each, it reads a tenth of the bytes, and the exact comparison mends the order."""

AXES_STEP: Final = 16
"""Axes are kept by so many, as FAISS's kernels take them."""

AXES_FROM: Final = 20_000
"""Rows that the axes are taken from."""

COMPARED: Final = 4
"""k_factor of the graph: so many times as many rows as are wanted are compared exactly."""

NPROBES: Final = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096)
K_FACTORS: Final = {"ivf_sq8": (2, 8), "ivf_rabitq": (8, 32)}
EF_SEARCHES: Final = (48, 64, 96, 128, 160, 192, 224, 256, 384, 512, 1024)


def is_finite_norm(vectors: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Say which vectors are finite, and so short that distances between them are too: (vectors,).

    A squared distance is at most four times the larger squared length, and float32 ends at 3.4e38; what
    FAISS meets beyond that it does not find at all.

    Args:
        vectors: (vectors, dimension), of any type.
    """
    # In doubles, whose own overflow is infinite, and so no vector either.
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    measured: NDArray[np.bool_] = squares < MAX_NORM  # Not so of not-a-number.
    return measured


def flat_index(parts: Iterable[NDArray[np.float32]], rows: int = 0) -> Any:
    """Collect vectors in a ``faiss.IndexFlatL2``.

    Args:
        parts: float32, (rows, dimension) each; one at the least, which may have no rows.
        rows: how many there will be in all, where that is known: room for all is then made once, where
            FAISS would double it, and hold twice what it copies.

    Raises:
        ValueError: there is no part, or one is no matrix of vectors, or of another size than the first.
    """
    import faiss

    exact = None
    for part in parts:
        dimension = part.shape[-1] if exact is None else exact.d
        fits = part.ndim == 2 and part.shape[1] == dimension
        wrong = len(part) - int(is_finite_norm(part).sum()) if fits else 0
        if wrong or not fits:
            raise ValueError(
                f"found embeddings of shape {part.shape}, {wrong:,} of them not finite or as long as "
                f"1e15; expected (n, {dimension}), all finite"
            )
        if exact is None:
            exact = faiss.IndexFlatL2(dimension)
            exact.codes.resize(rows * exact.code_size)
            exact.codes.resize(0)
        exact.add(np.ascontiguousarray(part, dtype=np.float32))
    if exact is None:
        raise ValueError("found no part of embeddings; expected one, which may have no rows")
    return exact


def build_index(kind: Kind, exact: Any, *, seed: int = 0, part_rows: int = PART_ROWS) -> FaissIndex:
    """Build an index of a kind; :func:`efforts` are the settings that its search can be given.

    Args:
        kind: which; of no vectors only ``flat`` can be built.
        exact: the vectors, as :func:`hold` gives them.
        seed: of the sample that is trained on, and of k-means.
        part_rows: rows that are added at a time.

    Raises:
        ValueError: there is nothing to train on.
    """
    if kind == "flat":
        return FaissIndex(exact)
    if exact.ntotal == 0:
        raise ValueError(f"found no vectors; expected some for an index of kind {kind}")
    matrix = FaissIndex(exact).matrix
    with limit_faiss_threads():
        if kind == "hnsw":
            return FaissIndex(_graph(matrix, exact, seed))
        return FaissIndex(_clustered(kind, matrix, exact, seed, part_rows))


def search_settings(vectors: FaissIndex) -> Iterator[Settings]:
    """Give the settings of a search, in the order in which they are tried, for :meth:`Vectors.look`.

    Each looks further than the one before, but for one place: where clusters are looked through, first all
    numbers of them with few rows compared exactly, then all again with more, from the fewest on.
    """
    if vectors.kind == "flat":
        yield {}
    elif vectors.kind == "hnsw":
        yield from ({"efSearch": reach} for reach in EF_SEARCHES)
    else:
        nlist = vectors.settings["nlist"]
        nprobes = [*(each for each in NPROBES if each < nlist), nlist]
        for k_factor in K_FACTORS[vectors.kind]:
            yield from ({"nprobe": nprobe, "k_factor": k_factor} for nprobe in nprobes)


def num_clusters(count: int) -> int:
    """Say how many clusters vectors are put in, no more than can be trained on.

    FAISS's guide begins at 4 √n. Fewer are trained in a fraction of the time, and what has longer lists to
    look through has shorter codes in them.
    """
    return max(1, min(round(1.6 * math.sqrt(count)), count // MAX_TRAINING_VECTORS))


def _clustered(
    kind: Kind, matrix: NDArray[np.float32], exact: Any, seed: int, part_rows: int
) -> Any:
    import faiss

    count, dimension = matrix.shape
    nlist = num_clusters(count)
    centres = faiss.IndexFlatL2(dimension)
    whole: Any
    if kind == "ivf_sq8":
        coding = faiss.ScalarQuantizer.QT_8bit
        whole = faiss.IndexIVFScalarQuantizer(centres, dimension, nlist, coding, faiss.METRIC_L2)
    else:
        whole = faiss.IndexIVFRaBitQ(centres, dimension, nlist, faiss.METRIC_L2)
    whole.cp.niter, whole.cp.seed, whole.cp.min_points_per_centroid = KMEANS_ITERATIONS, seed, 1
    chosen = np.random.default_rng(seed).choice(
        count, min(count, MAX_TRAINING_VECTORS * nlist), replace=False
    )
    whole.train(matrix[np.sort(chosen)])
    trained = faiss.clone_index(whole)
    for start in range(0, count, part_rows):
        part = faiss.clone_index(trained)
        part.add(matrix[start : start + part_rows])
        whole.merge_from(part, start)
    return faiss.IndexRefine(whole, exact)


def _graph(matrix: NDArray[np.float32], exact: Any, seed: int) -> Any:
    """Build a graph in the order of rows.

    What was added before a row decides its links, so the graph has no parts that could be merged; and
    FAISS orders what it is given at once by level, so one call makes it free of where parts would end.
    """
    faiss = untyped_faiss()

    count, dimension = matrix.shape
    chosen = np.random.default_rng(seed).choice(count, min(count, AXES_FROM), replace=False)
    axes = _axes(matrix[np.sort(chosen)])
    graph = faiss.IndexHNSWSQ(len(axes), faiss.ScalarQuantizer.QT_8bit, HNSW_M)
    graph.hnsw.efConstruction = HNSW_EF_CONSTRUCTION
    base: Any = graph
    if len(axes) < dimension:
        turn = faiss.LinearTransform(dimension, len(axes), False)
        faiss.copy_array_to_vector(axes.ravel(), turn.A)
        turn.is_trained = True
        base = faiss.IndexPreTransform(turn, graph)
    base.train(matrix)
    base.add(matrix)
    whole = faiss.IndexRefine(base, exact)
    whole.k_factor = COMPARED
    return whole


def _axes(sample: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the principal axes that keep enough of the variance: float32, (axes, dimension), orthonormal.

    All of them, as they are, where nothing would be saved.
    """
    count, dimension = sample.shape
    apart = sample.astype(np.float64) - sample.mean(axis=0, dtype=np.float64)
    spread, axes = np.linalg.eigh(apart.T @ apart / count)
    kept = np.cumsum(np.maximum(spread[::-1], 0))
    needed = int(np.searchsorted(kept, SPREAD_KEPT * kept[-1])) + 1
    leading = axes[:, ::-1].T[: -(-needed // AXES_STEP) * AXES_STEP]
    if len(leading) == dimension:
        return np.eye(dimension, dtype=np.float32)
    # An axis may point either way: always the one in which its largest number is positive.
    largest = np.abs(leading).argmax(axis=1)
    leading = leading * np.sign(leading[np.arange(len(leading)), largest])[:, np.newaxis]
    return np.ascontiguousarray(leading, np.float32)
