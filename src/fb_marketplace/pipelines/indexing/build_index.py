"""Index of photo embeddings."""

import pandas as pd

from fb_marketplace.ann.build import BuiltIndex, build_index
from fb_marketplace.errors import UserError
from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace.storage.keyed_table import Table


def build_image_index(
    image_embeddings: Table, image_products: pd.DataFrame, parameters: IndexParameters
) -> BuiltIndex:
    """Build the index of photo embeddings, with rows sorted by photo id.

    Args:
        image_embeddings: one vector per photo.
        image_products: ``image_id`` and ``product_id`` of each photo.
        parameters: kind of index and required recall.

    Raises:
        UserError: there are no embeddings, some belong to photos without a listing, or the required
            recall is not reached.
    """
    order = image_embeddings.order("image_id").tolist()
    if not order:
        raise UserError("image_embeddings is empty. Run `kedro run --pipeline=embeddings`.")
    image_ids = image_embeddings.take(order, ["image_id"]).column("image_id").to_pylist()
    product_of = dict(zip(image_products["image_id"], image_products["product_id"], strict=True))
    orphans = [image_id for image_id in image_ids if image_id not in product_of]
    if orphans:
        raise UserError(
            f"image_embeddings has {len(orphans):,} photos without a listing, such as {orphans[0]}: it "
            "is from an earlier cleaning. Rerun `kedro run --pipeline=embeddings`."
        )
    rows = parameters.rows_per_part
    parts = (
        image_embeddings.vectors(order[start : start + rows], "embedding")
        for start in range(0, len(order), rows)
    )
    return build_index(parts, image_ids, [product_of[name] for name in image_ids], parameters)
