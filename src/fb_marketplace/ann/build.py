"""Index builder of the pipelines: turns vectors into an index and its ids."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.ann.index_selection import build_selected, select_index
from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace_serving.ann.build import flat_index
from fb_marketplace_serving.ann.faiss_index import FaissIndex
from fb_marketplace_serving.ann.index import Index


class BuiltIndex(NamedTuple):
    """An index and its ids as file contents, and a card that describes the index."""

    vectors: bytes
    ids: bytes
    card: dict[str, Any]


def select_kind(
    parts: Iterable[NDArray[np.float32]], count: int, parameters: IndexParameters
) -> dict[str, Any]:
    """Select kind and settings of an index; see :func:`select_index`.

    Args:
        parts: arrays, each float32, (rows, dimension).
        count: total number of rows.
        parameters: kind of index and required recall.
    """
    return select_index(FaissIndex(flat_index(parts, count)), parameters)


def build_index(
    parts: Iterable[NDArray[np.float32]],
    ids: Sequence[str],
    product_ids: Sequence[str],
    selection: Mapping[str, Any],
    parameters: IndexParameters,
) -> BuiltIndex:
    """Build an index of the selected kind.

    Args:
        parts: arrays, each float32, (rows, dimension), in the order of the ids.
        ids: photo or listing of each row.
        product_ids: listing of each row.
        selection: kind and settings, from :func:`select_kind`.
        parameters: required recall.

    Returns:
        The index, its ids, and the card: kind, settings, number of ``vectors``, also
        ``vectors_at_selection``, ``dimension``, ``required_recall``, Recall@10, ``build_seconds`` of the
        index alone, bytes per vector, and query times in milliseconds.

    Raises:
        UserError: the configured kind does not reach the required recall.
    """
    vectors = FaissIndex(flat_index(parts, len(ids)))
    selected = build_selected(vectors, selection, parameters)
    index = Index(selected.vectors, ids, product_ids)
    card = {
        "required_recall": parameters.recall,
        "vectors": len(index),
        "dimension": index.dimension,
    }
    return BuiltIndex(*index.to_bytes(), selected.card | card)
