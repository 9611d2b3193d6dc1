"""Indexes of a few thousand vectors, and exact search."""

import contextlib

import numpy as np
import pytest

from fb_marketplace_serving.ann import faiss_index
from fb_marketplace_serving.ann.build import build_index, flat_index, search_settings
from fb_marketplace_serving.ann.faiss_index import KINDS

COUNT, DIMENSION = 3000, 24
APPROXIMATE = [kind for kind in KINDS if kind != "flat"]


def unit(matrix):
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


def drawn(seed, count, centres=40):
    """Unit vectors in clusters, as photos are, some of them the same."""
    random = np.random.default_rng(seed)
    middle = np.random.default_rng(99).normal(size=(centres, DIMENSION))
    vectors = unit(
        middle[random.integers(centres, size=count)] + random.normal(size=(count, DIMENSION))
    )
    vectors[count // 2 : count // 2 + count // 10] = vectors[: count // 10]
    return vectors


@contextlib.contextmanager
def nothing_exact():
    """Make the index answer every query, even with few rows."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("EXACT_ROWS", "EXACT_SHARE", "_MAX_INDEX_SHARE"):
            patch.setattr(faiss_index, name, 0)
        yield


def brute_force(matrix, query, k, keep=None):
    """Rows and distances of the nearest, of equals the first, in doubles."""
    distances = ((matrix.astype(np.float64) - query) ** 2).sum(axis=1)
    rows = np.arange(len(matrix)) if keep is None else np.flatnonzero(keep)
    order = rows[np.lexsort((rows, distances[rows]))][:k]
    return order, distances[order]


def looking_everywhere(kind, matrix):
    """An index set to exact search."""
    vectors = build_index(kind, flat_index([matrix]))
    vectors.set_search_params(list(search_settings(vectors))[-1])
    if kind == "ivf_rabitq":
        # Of rows that are nearly the same, a bit a number does not tell the nearest.
        vectors.set_search_params({"k_factor": len(matrix)})
    return vectors
