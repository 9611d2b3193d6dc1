"""Real vectors of a lake, some held out to ask with, and more of them made between real neighbours."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.storage import keyed_table
from fb_marketplace_serving.ann.build import flat_index
from fb_marketplace_serving.ann.faiss_index import FaissIndex
from fb_marketplace_serving.ann.knn import limit_faiss_threads

HELD_OUT = 1000
DRAWN = 9500
NEIGHBOURS = 10
Matrix = NDArray[np.float32]


class Real(NamedTuple):
    """Vectors of photos.

    Attributes:
        searched: what is searched.
        choosing: held out, to choose by how far an index has to look.
        asking: held out, to measure what it then finds.
    """

    searched: Matrix
    choosing: Matrix
    asking: Matrix


def read_real(lake: str, seed: int = 0) -> Real | None:
    """Read the vectors of a lake, in a random order; nothing where there are none.

    Args:
        lake: its root.
        seed: of the order, and so of what is held out: 1,000, or a fifth of fewer.
    """
    try:
        table = keyed_table.open_table(f"{lake}/07_model_output/image_embeddings.lance")
    except keyed_table.TableMissingError:
        return None
    order = table.order("image_id").tolist()
    return held_out_of(table.vectors(order, "embedding"), seed) if order else None


def drawn(count: int = DRAWN, dimension: int = 256, seed: int = 0) -> Real:
    """Draw vectors somewhat like those of photos, for where there is no lake.

    Clusters of unlike sizes in 25 dimensions, bent into the many of a vector, with some noise in all of
    them; a hundred are copies of others.

    Args:
        count: how many.
        dimension: size of a vector.
        seed: of all that is drawn.
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
    return held_out_of(vectors.astype(np.float32), seed)


def held_out_of(vectors: Matrix, seed: int) -> Real:
    """Put vectors in a random order, in place, and hold some out."""
    np.random.default_rng(seed).shuffle(vectors)
    held_out = min(HELD_OUT, len(vectors) // 5)
    half = held_out // 2
    return Real(vectors[held_out:], vectors[:half], vectors[half:held_out])


def grown(real: Matrix, count: int, seed: int = 0) -> Matrix:
    """Give so many vectors: the real ones, and points between one and one of its ten nearest.

    Args:
        real: float32, (n, dimension), of unit length; two at the least where more are wanted.
        count: how many.
        seed: of between which, and where between them.

    Returns:
        float32, (count, dimension), of unit length; of fewer than there are real ones, the first.
    """
    if count <= len(real):
        return real[:count]
    random = np.random.default_rng(seed)
    with limit_faiss_threads():
        around = FaissIndex(flat_index([real])).nearest(real, min(NEIGHBOURS + 1, len(real)))
    one = random.integers(len(real), size=count - len(real))
    other = around[one, random.integers(1, around.shape[1], size=len(one))]
    share = random.random((len(one), 1), dtype=np.float32)
    between = real[one] * share + real[other] * (1 - share)
    between /= np.linalg.norm(between, axis=1, keepdims=True)
    return np.concatenate([real, between])
