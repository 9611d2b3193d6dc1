"""The vectors made searchable: an index and the ids of its rows, one version."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.ann.index_selection import select_index
from fb_marketplace.errors import UserError
from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.ann.build import flat_index
from fb_marketplace_serving.ann.faiss_index import FaissIndex
from fb_marketplace_serving.ann.index import Index


class BuiltIndex(NamedTuple):
    """An index and its ids, as files, and what is to be known of them."""

    vectors: bytes
    ids: bytes
    card: dict[str, Any]


def build_index(
    image_embeddings: Table, image_products: pd.DataFrame, parameters: IndexParameters
) -> BuiltIndex:
    """Index the embeddings, sorted by photo.

    Args:
        image_embeddings: a vector for each photo.
        image_products: ``image_id`` and ``product_id`` of each photo.
        parameters: the kind of index, and how much of what is nearest it has to find.

    Returns:
        The index, its ids, and ``index_card``: kind, settings, vectors, ``build_seconds`` of the index
        alone, size, recall, the times of a query in milliseconds, and the same of each kind ``tried``.

    Raises:
        UserError: there are no embeddings, or some of photos that are of no listing; or the kind that is
            named does not find so much.
    """
    order = image_embeddings.order("image_id").tolist()
    if not order:
        raise UserError(
            "found no embeddings; expected one for each photo: kedro run --pipeline=embeddings"
        )
    image_ids = image_embeddings.take(order, ["image_id"]).column("image_id").to_pylist()
    products = dict(zip(image_products["image_id"], image_products["product_id"], strict=True))
    lost = [image_id for image_id in image_ids if image_id not in products]
    if lost:
        raise UserError(
            f"found {len(lost):,} embedded photos that are of no listing, such as {lost[0]}; expected "
            "none: the embeddings are of an earlier cleaning: kedro run --pipeline=embeddings"
        )
    held = FaissIndex(
        flat_index(_parts(image_embeddings, order, parameters.rows_per_part), len(order))
    )
    chosen = select_index(held, parameters)
    index = Index(chosen.vectors, image_ids, [products[image_id] for image_id in image_ids])
    card = {
        "asked_recall": parameters.recall,
        "vectors": len(index),
        "dimension": index.dimension,
    }
    return BuiltIndex(*index.to_bytes(), chosen.card | card)


def _parts(table: Table, order: list[int], rows: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(order), rows):
        yield table.vectors(order[start : start + rows], "embedding")
