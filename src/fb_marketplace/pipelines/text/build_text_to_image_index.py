"""Index of photos in the space of projected texts. Its rows are those of the image index."""

import io

from fb_marketplace.ann.build import BuiltIndex, build_index
from fb_marketplace.errors import UserError
from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace.pipelines.text.cross_modal_projection import Layers, l2_normalize, project
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table


def build_text_to_image_index(
    vision_features: Table,
    photo_projection: FileRef,
    image_index_ids: FileRef,
    parameters: IndexParameters,
) -> BuiltIndex:
    """Project photos into the common space and index them.

    Args:
        vision_features: features of the frozen backbone, by photo.
        photo_projection: the photo network, safetensors.
        image_index_ids: photo and listing of each row of the image index.
        parameters: kind of index and required recall.

    Raises:
        UserError: a photo of the image index has no features, or the required recall is not reached.
    """
    import pyarrow.parquet as pq
    from safetensors.numpy import load

    layers = Layers(**load(photo_projection.read()))
    table = pq.ParquetFile(io.BytesIO(image_index_ids.read())).read()
    image_ids, product_ids = (table.column(name).to_pylist() for name in ("image_id", "product_id"))
    names = vision_features.read(["image_id"]).column("image_id").to_pylist()
    row_of = {name: row for row, name in enumerate(names)}
    missing = [name for name in image_ids if name not in row_of]
    if missing:
        raise UserError(
            f"vision_features lacks {len(missing):,} photos of the image index, such as {missing[0]}. "
            "Rerun `kedro run --pipeline=vision`."
        )
    order = [row_of[name] for name in image_ids]
    rows = parameters.rows_per_part
    parts = (
        project(
            layers, l2_normalize(vision_features.vectors(order[start : start + rows], "features"))
        )
        for start in range(0, len(order), rows)
    )
    return build_index(parts, image_ids, product_ids, parameters)
