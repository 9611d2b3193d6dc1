"""Index builder of the pipelines: turns vectors into an index and its ids."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.ann.index_selection import select_index
from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace_serving.ann.build import flat_index
from fb_marketplace_serving.ann.faiss_index import FaissIndex
from fb_marketplace_serving.ann.index import Index


class BuiltIndex(NamedTuple):
    """An index and its ids as file contents, and a card that describes the index."""

    vectors: bytes
    ids: bytes
    card: dict[str, Any]


def build_index(
    parts: Iterable[NDArray[np.float32]],
    ids: Sequence[str],
    product_ids: Sequence[str],
    parameters: IndexParameters,
) -> BuiltIndex:
    """Build an index of the configured kind.

    Args:
        parts: arrays, each float32, (rows, dimension), in the order of the ids.
        ids: photo or listing of each row.
        product_ids: listing of each row.
        parameters: kind of index and required recall.

    Returns:
        The index, its ids, and the card: kind, settings, number of ``vectors``, ``dimension``,
        ``required_recall``, Recall@10, ``build_seconds`` of the index alone, bytes per vector, query times
        in milliseconds, and the same values for each kind that was ``tried``.

    Raises:
        UserError: the configured kind does not reach the required recall.
    """
    selected = select_index(FaissIndex(flat_index(parts, len(ids))), parameters)
    index = Index(selected.vectors, ids, product_ids)
    card = {
        "required_recall": parameters.recall,
        "vectors": len(index),
        "dimension": index.dimension,
    }
    return BuiltIndex(*index.to_bytes(), selected.card | card)
