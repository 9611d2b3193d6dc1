"""Index of photos in the space of projected texts. Its rows are those of the image index."""

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.ann.build import BuiltIndex, build_index, select_kind
from fb_marketplace.errors import UserError
from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace.pipelines.text.cross_modal_projection import Layers, l2_normalize, project
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table


def select_text_to_image_index(
    vision_features: Table, photo_projection: FileRef, parameters: IndexParameters
) -> dict[str, Any]:
    """Select kind and settings of the index of projected photos.

    Args:
        vision_features: features of the frozen backbone, by photo.
        photo_projection: the photo network, safetensors.
        parameters: kind of index and required recall.

    Raises:
        UserError: the required recall is not reached.
    """
    order = vision_features.order("image_id").tolist()
    parts = _parts(vision_features, photo_projection, order, parameters)
    return select_kind(parts, len(order), parameters)


def build_text_to_image_index(
    vision_features: Table,
    photo_projection: FileRef,
    image_index_ids: FileRef,
    selection: Mapping[str, Any],
    parameters: IndexParameters,
) -> BuiltIndex:
    """Project photos into the common space and index them.

    Args:
        vision_features: features of the frozen backbone, by photo.
        photo_projection: the photo network, safetensors.
        image_index_ids: photo and listing of each row of the image index.
        selection: selected kind and settings.
        parameters: required recall.

    Raises:
        UserError: a photo of the image index has no features, or the required recall is not reached.
    """
    import pyarrow.parquet as pq

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
    parts = _parts(vision_features, photo_projection, order, parameters)
    return build_index(parts, image_ids, product_ids, selection, parameters)


def _parts(
    vision_features: Table, photo_projection: FileRef, order: list[int], parameters: IndexParameters
) -> Iterator[NDArray[np.float32]]:
    from safetensors.numpy import load

    layers = Layers(**load(photo_projection.read()))
    rows = parameters.rows_per_part
    for start in range(0, len(order), rows):
        features = vision_features.vectors(order[start : start + rows], "features")
        yield project(layers, l2_normalize(features))
