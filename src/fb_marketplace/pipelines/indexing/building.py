"""The vectors made searchable: an index and the ids of its rows, one version."""

import time
from typing import Any, NamedTuple

import pandas as pd

from fb_marketplace.parameters import IndexParameters
from fb_marketplace.tables import Table
from fb_marketplace_serving.index import Index


class Built(NamedTuple):
    """An index and its ids, as files, and what is to be known of them."""

    vectors: bytes
    ids: bytes
    card: dict[str, Any]


def build_index(
    image_embeddings: Table, image_products: pd.DataFrame, parameters: IndexParameters
) -> Built:
    """Index the embeddings, sorted by photo.

    Args:
        image_embeddings: a vector for each photo.
        image_products: ``image_id`` and ``product_id`` of each photo.
        parameters: the kind of index.
    """
    order = image_embeddings.order("image_id").tolist()
    image_ids = image_embeddings.take(order, ["image_id"]).column("image_id").to_pylist()
    vectors = image_embeddings.vectors(order, "embedding")
    products = dict(zip(image_products["image_id"], image_products["product_id"], strict=True))
    started = time.perf_counter()
    index = Index.build_flat(
        vectors,
        image_ids,
        [products[image_id] for image_id in image_ids],
    )
    seconds = time.perf_counter() - started
    written, ids = index.to_bytes()
    card = {
        "kind": parameters.kind,
        "vectors": len(index),
        "dimension": index.dimension,
        "bytes_a_vector": len(written) / max(1, len(index)),
        "build_seconds": round(seconds, 3),
    }
    return Built(written, ids, card)
