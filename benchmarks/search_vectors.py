"""Real vectors of a lake, some held out to ask with, and more of them made between real neighbours."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace import tables
from fb_marketplace_serving.index_building import hold
from fb_marketplace_serving.index_kinds import Vectors
from fb_marketplace_serving.index_search import one_thread

HELD_OUT = 500
NEIGHBOURS = 10
Matrix = NDArray[np.float32]


class Real(NamedTuple):
    """Vectors of photos: those that are searched, and those that ask and are nowhere among them."""

    searched: Matrix
    asking: Matrix


def read_real(lake: str, seed: int = 0) -> Real | None:
    """Read the vectors of a lake, in a random order; nothing where there are none.

    Args:
        lake: its root.
        seed: of the order, and so of what is held out: 500, or a fifth of fewer.
    """
    try:
        table = tables.open_table(f"{lake}/07_model_output/image_embeddings.lance")
    except tables.TableMissingError:
        return None
    vectors = table.vectors(table.order("image_id").tolist(), "embedding")
    np.random.default_rng(seed).shuffle(vectors)
    asking = min(HELD_OUT, len(vectors) // 5)
    return Real(vectors[asking:], vectors[:asking])


def grown(real: Matrix, count: int, seed: int = 0) -> Matrix:
    """Give so many vectors: the real ones, and points between one and one of its ten nearest.

    Args:
        real: float32, (n, dimension), of unit length.
        count: how many.
        seed: of between which, and where between them.

    Returns:
        float32, (count, dimension), of unit length; of fewer than there are real ones, the first.
    """
    if count <= len(real):
        return real[:count]
    random = np.random.default_rng(seed)
    with one_thread():
        around = Vectors(hold([real])).nearest(real, NEIGHBOURS + 1)
    one = random.integers(len(real), size=count - len(real))
    other = around[one, random.integers(1, around.shape[1], size=len(one))]
    share = random.random((len(one), 1), dtype=np.float32)
    between = real[one] * share + real[other] * (1 - share)
    between /= np.linalg.norm(between, axis=1, keepdims=True)
    return np.concatenate([real, between])
