"""Deterministic construction of FAISS indexes: the same vectors and seed give the same bytes.

Every kind refers to one ``faiss.IndexFlatL2``, so the exact vectors are in memory once. The clusters of an
IVF index are trained once, on a sample. Its vectors are added in parts. FAISS uses one thread, so that sums
do not depend on the number of threads.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.ann.faiss_index import FaissIndex, Kind, Settings, untyped_faiss
from fb_marketplace_serving.ann.knn import limit_faiss_threads

MAX_NORM: Final = 1e30
"""Exclusive upper bound of a vector's squared L2 norm."""

PART_ROWS: Final = 50_000

MAX_TRAINING_VECTORS: Final = 64
"""Training vectors per cluster. FAISS warns below 39."""

KMEANS_ITERATIONS: Final = 10

HNSW_M: Final = 16
"""Links per node (M in the paper). At the same recall, 32 is slower (``benchmarks/search.py``)."""

HNSW_EF_CONSTRUCTION: Final = 100

HNSW_EXPLAINED_VARIANCE: Final = 0.94
"""Share of the variance that the principal axes keep. The graph only selects candidates, and exact
distances decide their order. With 96 of 256 axes, at one byte each, it reads a tenth of the bytes."""

HNSW_AXES_STEP: Final = 16
"""The number of axes is a multiple of this, so that FAISS uses its SIMD kernels."""

HNSW_PCA_ROWS: Final = 20_000
"""Rows that the axes are computed from."""

HNSW_K_FACTOR: Final = 4
"""Candidates whose exact distance is computed, as a multiple of the requested rows."""

NPROBES: Final = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096)
K_FACTORS: Final = {"ivf_pq": (8, 32), "ivf_rabitq": (8, 32), "ivf_sq8": (2, 8)}
EF_SEARCHES: Final = (48, 64, 96, 128, 160, 192, 224, 256, 384, 512, 1024)

PQ_CENTROIDS: Final = 16
"""Centroids of each part of a vector in product quantization, which are four bits."""


def is_finite_norm(vectors: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Check which vectors are finite and short enough for finite distances.

    A squared distance is at most four times the larger squared norm, and float32 ends at 3.4e38. FAISS
    never returns a vector whose distance overflows.

    Args:
        vectors: (vectors, dimension), of any type.

    Returns:
        bool, (vectors,).
    """
    # In float64, whose own overflow is infinite and therefore rejected too.
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    is_finite: NDArray[np.bool_] = squares < MAX_NORM  # False for NaN.
    return is_finite


def flat_index(parts: Iterable[NDArray[np.float32]], rows: int = 0) -> Any:
    """Build a ``faiss.IndexFlatL2`` from vectors.

    Args:
        parts: float32, (rows, dimension) each; at least one, which may be empty.
        rows: total number of rows, if known. Memory is then allocated once. Otherwise FAISS doubles it
            when it is full, and has two copies in memory meanwhile.

    Returns:
        The ``faiss.IndexFlatL2``.

    Raises:
        ValueError: there is no part, or a part is not a matrix of finite vectors of the same dimension.
    """
    import faiss

    exact = None
    for part in parts:
        dimension = part.shape[-1] if exact is None else exact.d
        is_matrix = part.ndim == 2 and part.shape[1] == dimension
        invalid = len(part) - int(is_finite_norm(part).sum()) if is_matrix else 0
        if invalid or not is_matrix:
            raise ValueError(
                f"found embeddings of shape {part.shape}, {invalid:,} with values that are not finite "
                f"or of 1e15 and more; expected finite values of shape (n, {dimension})"
            )
        if exact is None:
            exact = faiss.IndexFlatL2(dimension)
            exact.codes.resize(rows * exact.code_size)
            exact.codes.resize(0)
        exact.add(np.ascontiguousarray(part, dtype=np.float32))
    if exact is None:
        raise ValueError("found no arrays of embeddings; expected at least one, which may be empty")
    return exact


def build_index(kind: Kind, exact: Any, *, seed: int = 0, part_rows: int = PART_ROWS) -> FaissIndex:
    """Build an index of a kind. :func:`search_settings` yields search parameters to try on it.

    Args:
        kind: the kind; without vectors, only ``flat`` can be built.
        exact: the vectors, from :func:`flat_index`.
        seed: seed of the training sample and of k-means.
        part_rows: rows that are added to an IVF index at a time.

    Raises:
        ValueError: there are no vectors to train on.
    """
    if kind == "flat":
        return FaissIndex(exact)
    if exact.ntotal == 0:
        raise ValueError(f"found no vectors; an index of kind {kind} needs at least one")
    matrix = FaissIndex(exact).matrix
    with limit_faiss_threads():
        if kind == "hnsw":
            return FaissIndex(_build_hnsw(matrix, exact, seed))
        return FaissIndex(_build_ivf(kind, matrix, exact, seed, part_rows))


def search_settings(index: FaissIndex) -> Iterator[Settings]:
    """Yield settings for :meth:`FaissIndex.set_search_params`, in the order in which to try them.

    Each setting searches more than the one before, with one exception: for IVF indexes, all values of
    ``nprobe`` come first with the smaller ``k_factor``, then again with the larger one.
    """
    if index.kind == "flat":
        yield {}
    elif index.kind == "hnsw":
        yield from ({"efSearch": reach} for reach in EF_SEARCHES)
    else:
        nlist = index.settings["nlist"]
        nprobes = [*(nprobe for nprobe in NPROBES if nprobe < nlist), nlist]
        for k_factor in K_FACTORS[index.kind]:
            yield from ({"nprobe": nprobe, "k_factor": k_factor} for nprobe in nprobes)


def num_clusters(count: int) -> int:
    """Return the number of IVF clusters for n vectors, limited by the available training vectors.

    FAISS's guide starts at 4 √n. Fewer clusters train in a fraction of the time. Their lists are longer,
    but the codes are shorter.
    """
    return max(1, min(round(1.6 * math.sqrt(count)), count // MAX_TRAINING_VECTORS))


def _build_ivf(
    kind: Kind, matrix: NDArray[np.float32], exact: Any, seed: int, part_rows: int
) -> Any:
    import faiss

    count, dimension = matrix.shape
    nlist = num_clusters(count)
    parts = dimension // 2 if dimension % 2 == 0 else dimension
    codes = {"ivf_pq": f"PQ{parts}x4fs", "ivf_rabitq": "RaBitQ", "ivf_sq8": "SQ8"}[kind]
    index: Any = faiss.index_factory(dimension, f"IVF{nlist},{codes}")
    index.cp.niter, index.cp.seed, index.cp.min_points_per_centroid = KMEANS_ITERATIONS, seed, 1
    sample = _sample(matrix, MAX_TRAINING_VECTORS * nlist, seed)
    if len(sample) < PQ_CENTROIDS:
        sample = np.resize(sample, (PQ_CENTROIDS, dimension))
    index.train(sample)
    for start in range(0, count, part_rows):
        index.add(matrix[start : start + part_rows])
    return faiss.IndexRefine(index, exact)


def _build_hnsw(matrix: NDArray[np.float32], exact: Any, seed: int) -> Any:
    """Build an HNSW graph.

    A row's links depend on the rows before it, so parts cannot be merged. FAISS sorts the rows of one
    call by level, so all rows are added in one call.
    """
    faiss = untyped_faiss()

    axes = _principal_axes(_sample(matrix, HNSW_PCA_ROWS, seed))
    graph = faiss.IndexHNSWSQ(len(axes), faiss.ScalarQuantizer.QT_8bit, HNSW_M)
    graph.hnsw.efConstruction = HNSW_EF_CONSTRUCTION
    base: Any = graph
    if len(axes) < matrix.shape[1]:
        rotation = faiss.LinearTransform(matrix.shape[1], len(axes), False)
        faiss.copy_array_to_vector(axes.ravel(), rotation.A)
        rotation.is_trained = True
        base = faiss.IndexPreTransform(rotation, graph)
    base.train(matrix)
    base.add(matrix)
    index = faiss.IndexRefine(base, exact)
    index.k_factor = HNSW_K_FACTOR
    return index


def _sample(matrix: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """Return random distinct rows, in their original order."""
    rows = np.random.default_rng(seed).choice(len(matrix), min(len(matrix), count), replace=False)
    return matrix[np.sort(rows)]


def _principal_axes(sample: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the principal axes that keep enough of the variance.

    Returns:
        float32, (axes, dimension), orthonormal; the identity if all axes are needed.
    """
    count, dimension = sample.shape
    centred = sample.astype(np.float64) - sample.mean(axis=0, dtype=np.float64)
    variance, axes = np.linalg.eigh(centred.T @ centred / count)
    cumulative = np.cumsum(np.maximum(variance[::-1], 0))
    needed = int(np.searchsorted(cumulative, HNSW_EXPLAINED_VARIANCE * cumulative[-1])) + 1
    leading = axes[:, ::-1].T[: -(-needed // HNSW_AXES_STEP) * HNSW_AXES_STEP]
    if len(leading) == dimension:
        return np.eye(dimension, dtype=np.float32)
    # The sign of an axis is arbitrary: make its component of largest magnitude positive.
    largest = np.abs(leading).argmax(axis=1)
    leading = leading * np.sign(leading[np.arange(len(leading)), largest])[:, np.newaxis]
    return np.ascontiguousarray(leading, np.float32)
