"""Vectors of a lake, with held-out queries, and more vectors between real neighbors."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.storage import keyed_table
from fb_marketplace_serving.ann.build import flat_index
from fb_marketplace_serving.ann.faiss_index import FaissIndex
from fb_marketplace_serving.ann.knn import limit_faiss_threads

HELD_OUT = 1000
NUM_RANDOM = 9500
NEIGHBORS = 10
Matrix = NDArray[np.float32]


class VectorSplit(NamedTuple):
    """Vectors of photos.

    Attributes:
        searched: the indexed vectors.
        selection: held-out queries for selecting search settings.
        test: held-out queries for measuring recall.
    """

    searched: Matrix
    selection: Matrix
    test: Matrix


def read_vectors(lake: str, seed: int = 0) -> VectorSplit | None:
    """Read the vectors of a lake, in random order; None if there are none.

    Args:
        lake: its root.
        seed: of the order and the held-out vectors: 1,000, or a fifth if there are fewer.
    """
    try:
        table = keyed_table.open_table(f"{lake}/07_model_output/image_embeddings.lance")
    except keyed_table.TableMissingError:
        return None
    order = table.order("image_id").tolist()
    return split_vectors(table.vectors(order, "embedding"), seed) if order else None


def random_vectors(count: int = NUM_RANDOM, dimension: int = 256, seed: int = 0) -> VectorSplit:
    """Return random vectors somewhat like those of photos.

    Clusters of different sizes in 25 dimensions, mapped nonlinearly into all dimensions, with noise; a
    hundred are copies of others.

    Args:
        count: number of vectors.
        dimension: size of a vector.
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)
    centres = random.normal(size=(600, 25))
    sizes = random.dirichlet(np.full(len(centres), 0.7))
    inner = centres[random.choice(len(centres), count, p=sizes)]
    inner += random.normal(scale=0.6, size=inner.shape)
    spread = random.normal(size=(25, dimension)) * np.exp(-np.arange(25) / 10)[:, np.newaxis]
    vectors = np.tanh(inner @ spread / 2) + random.normal(scale=0.05, size=(count, dimension))
    vectors[100:200] = vectors[:100]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return split_vectors(vectors.astype(np.float32), seed)


def split_vectors(vectors: Matrix, seed: int) -> VectorSplit:
    """Shuffle vectors in place and hold some out."""
    np.random.default_rng(seed).shuffle(vectors)
    held_out = min(HELD_OUT, len(vectors) // 5)
    half = held_out // 2
    return VectorSplit(vectors[held_out:], vectors[:half], vectors[half:held_out])


def enlarge(real: Matrix, count: int, seed: int = 0) -> Matrix:
    """Return this many vectors: the real ones, and points between one and one of its ten nearest.

    Args:
        real: float32, (n, dimension), of length one; at least two if more are needed.
        count: number of vectors.
        seed: of the pairs and the points between them.

    Returns:
        float32, (count, dimension), of length one; the first real ones if there are more than needed.
    """
    if count <= len(real):
        return real[:count]
    random = np.random.default_rng(seed)
    with limit_faiss_threads():
        neighbors = FaissIndex(flat_index([real])).nearest(real, min(NEIGHBORS + 1, len(real)))
    one = random.integers(len(real), size=count - len(real))
    other = neighbors[one, random.integers(1, neighbors.shape[1], size=len(one))]
    share = random.random((len(one), 1), dtype=np.float32)
    between = real[one] * share + real[other] * (1 - share)
    between /= np.linalg.norm(between, axis=1, keepdims=True)
    return np.concatenate([real, between])
