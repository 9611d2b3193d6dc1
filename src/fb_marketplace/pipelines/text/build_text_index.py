"""The texts made searchable: an index, and the ids of its rows, one version."""

from typing import Any, NamedTuple

import pandas as pd

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


def build_text_index(
    text_embeddings: Table, products: pd.DataFrame, parameters: IndexParameters
) -> BuiltIndex:
    """Index the vectors of texts, sorted by listing, so that row i is the listing at position i.

    Args:
        text_embeddings: a vector for each listing.
        products: the listings.
        parameters: the kind of index, and how much of what is nearest it has to find.

    Raises:
        UserError: the texts are not those of the listings; or the kind that is named does not find so much.
    """
    order = text_embeddings.order("product_id").tolist()
    ids = text_embeddings.take(order, ["product_id"]).column("product_id").to_pylist()
    if ids != sorted(products["product_id"]):
        raise UserError(
            f"found texts of {len(ids):,} listings; expected those of the {len(products):,} that there "
            "are: kedro run --pipeline=text"
        )
    rows = parameters.rows_per_part
    parts = (
        text_embeddings.vectors(order[start : start + rows], "meaning")
        for start in range(0, len(order), rows)
    )
    chosen = select_index(FaissIndex(flat_index(parts, len(order))), parameters)
    return BuiltIndex(
        *Index(chosen.vectors, ids, ids).to_bytes(),
        chosen.card | {"asked_recall": parameters.recall, "vectors": len(ids)},
    )
