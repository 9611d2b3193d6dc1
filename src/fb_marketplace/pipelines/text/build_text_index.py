"""Index of the listings' text embeddings."""

import pandas as pd

from fb_marketplace.ann.build import BuiltIndex, build_index
from fb_marketplace.errors import UserError
from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace.storage.keyed_table import Table


def build_text_index(
    text_embeddings: Table, products: pd.DataFrame, parameters: IndexParameters
) -> BuiltIndex:
    """Build the index of text embeddings. Row i is the i-th listing, sorted by id.

    Args:
        text_embeddings: one vector per listing.
        products: the listings.
        parameters: kind of index and required recall.

    Raises:
        UserError: the embeddings belong to other listings, or the required recall is not reached.
    """
    order = text_embeddings.order("product_id").tolist()
    ids = text_embeddings.take(order, ["product_id"]).column("product_id").to_pylist()
    if ids != sorted(products["product_id"]):
        raise UserError(
            f"text_embeddings has {len(ids):,} listings, which are not the {len(products):,} in "
            "products. Rerun `kedro run --pipeline=text`."
        )
    rows = parameters.rows_per_part
    parts = (
        text_embeddings.vectors(order[start : start + rows], "embedding")
        for start in range(0, len(order), rows)
    )
    return build_index(parts, ids, ids, parameters)
