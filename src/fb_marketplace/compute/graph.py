"""Connected components."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def connected_components(
    count: int, pairs: NDArray[np.int64] | Iterable[tuple[int, int]]
) -> NDArray[np.int64]:
    """Compute the connected components of a graph.

    Args:
        count: number of nodes, numbered from 0.
        pairs: edges, as pairs of nodes: an array (edges, 2), or tuples.

    Returns:
        int64, (count,): the smallest node of each node's component.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    listed = pairs if isinstance(pairs, np.ndarray) else list(pairs)
    edges = np.array(listed, dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(edges), dtype=np.int8), edges.T), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, smallest = np.unique(labels, return_index=True)
    members: NDArray[np.int64] = smallest.astype(np.int64)[labels]
    return members
