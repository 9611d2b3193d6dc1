"""Index of the listings' text embeddings."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.ann.build import BuiltIndex, build_index, select_kind
from fb_marketplace.errors import UserError
from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace.storage.keyed_table import Table


def select_text_index(text_embeddings: Table, parameters: IndexParameters) -> dict[str, Any]:
    """Select kind and settings of the index of text embeddings.

    Args:
        text_embeddings: one vector per listing.
        parameters: kind of index and required recall.

    Raises:
        UserError: the required recall is not reached.
    """
    order = text_embeddings.order("product_id").tolist()
    return select_kind(_parts(text_embeddings, order, parameters), len(order), parameters)


def build_text_index(
    text_embeddings: Table,
    products: pd.DataFrame,
    selection: Mapping[str, Any],
    parameters: IndexParameters,
) -> BuiltIndex:
    """Build the index of text embeddings. Row i is the i-th listing, sorted by id.

    Args:
        text_embeddings: one vector per listing.
        products: the listings.
        selection: selected kind and settings.
        parameters: required recall.

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
    parts = _parts(text_embeddings, order, parameters)
    return build_index(parts, ids, ids, selection, parameters)


def _parts(
    text_embeddings: Table, order: list[int], parameters: IndexParameters
) -> Iterator[NDArray[np.float32]]:
    rows = parameters.rows_per_part
    for start in range(0, len(order), rows):
        yield text_embeddings.vectors(order[start : start + rows], "embedding")
