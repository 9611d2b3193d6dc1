"""Index of photo embeddings."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.ann.build import BuiltIndex, build_index, select_kind
from fb_marketplace.errors import UserError
from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace.storage.keyed_table import Table


def select_image_index(image_embeddings: Table, parameters: IndexParameters) -> dict[str, Any]:
    """Select kind and settings of the index of photo embeddings.

    Args:
        image_embeddings: one vector per photo.
        parameters: kind of index and required recall.

    Raises:
        UserError: there are no embeddings, or the required recall is not reached.
    """
    order = _order(image_embeddings)
    return select_kind(_parts(image_embeddings, order, parameters), len(order), parameters)


def build_image_index(
    image_embeddings: Table,
    image_products: pd.DataFrame,
    selection: Mapping[str, Any],
    parameters: IndexParameters,
) -> BuiltIndex:
    """Build the index of photo embeddings, with rows sorted by photo id.

    Args:
        image_embeddings: one vector per photo.
        image_products: ``image_id`` and ``product_id`` of each photo.
        selection: selected kind and settings.
        parameters: required recall.

    Raises:
        UserError: there are no embeddings, some belong to photos without a listing, or the required
            recall is not reached.
    """
    order = _order(image_embeddings)
    image_ids = image_embeddings.take(order, ["image_id"]).column("image_id").to_pylist()
    product_of = dict(zip(image_products["image_id"], image_products["product_id"], strict=True))
    orphans = [image_id for image_id in image_ids if image_id not in product_of]
    if orphans:
        raise UserError(
            f"image_embeddings has {len(orphans):,} photos without a listing, such as {orphans[0]}: it "
            "is from an earlier cleaning. Rerun `kedro run --pipeline=embeddings`."
        )
    parts = _parts(image_embeddings, order, parameters)
    products = [product_of[name] for name in image_ids]
    return build_index(parts, image_ids, products, selection, parameters)


def _order(image_embeddings: Table) -> list[int]:
    order: list[int] = image_embeddings.order("image_id").tolist()
    if not order:
        raise UserError("image_embeddings is empty. Run `kedro run --pipeline=embeddings`.")
    return order


def _parts(
    image_embeddings: Table, order: list[int], parameters: IndexParameters
) -> Iterator[NDArray[np.float32]]:
    rows = parameters.rows_per_part
    for start in range(0, len(order), rows):
        yield image_embeddings.vectors(order[start : start + rows], "embedding")
