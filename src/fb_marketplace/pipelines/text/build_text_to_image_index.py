"""Index of photos in the space of texts. Its rows are those of the image index.

The vectors of photos are those of a dual encoder, if there is one; else their features are projected.
"""

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.ann.build import BuiltIndex, build_index, select_kind
from fb_marketplace.errors import UserError
from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace.pipelines.text.cross_modal_projection import Layers, l2_normalize, project
from fb_marketplace.skipping import InsufficientDataError, Skipped
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table


def select_text_to_image_index(
    vision_features: Table | Skipped,
    photo_projection: FileRef | Skipped,
    dual_image_embeddings: Table | Skipped,
    parameters: IndexParameters,
) -> dict[str, Any]:
    """Select kind and settings of the index of photos.

    Args:
        vision_features: features of the frozen backbone, by photo.
        photo_projection: the photo network, safetensors.
        dual_image_embeddings: vectors of the dual encoder, by photo.
        parameters: kind of index and required recall.

    Raises:
        InsufficientDataError: there is neither a projection nor a dual encoder.
        UserError: the required recall is not reached.
    """
    features, layers = _source(vision_features, photo_projection, dual_image_embeddings)
    order = features.order("image_id").tolist()
    parts = _parts(features, layers, order, parameters)
    return select_kind(parts, len(order), parameters)


def build_text_to_image_index(
    vision_features: Table | Skipped,
    photo_projection: FileRef | Skipped,
    dual_image_embeddings: Table | Skipped,
    image_index_ids: FileRef,
    selection: Mapping[str, Any],
    parameters: IndexParameters,
) -> BuiltIndex:
    """Index the photos in the common space.

    Args:
        vision_features: features of the frozen backbone, by photo.
        photo_projection: the photo network, safetensors.
        dual_image_embeddings: vectors of the dual encoder, by photo.
        image_index_ids: photo and listing of each row of the image index.
        selection: selected kind and settings.
        parameters: required recall.

    Raises:
        InsufficientDataError: there is neither a projection nor a dual encoder.
        UserError: a photo of the image index has no features, or the required recall is not reached.
    """
    import pyarrow.parquet as pq

    features, layers = _source(vision_features, photo_projection, dual_image_embeddings)
    table = pq.ParquetFile(io.BytesIO(image_index_ids.read())).read()
    image_ids, product_ids = (table.column(name).to_pylist() for name in ("image_id", "product_id"))
    names = features.read(["image_id"]).column("image_id").to_pylist()
    row_of = {name: row for row, name in enumerate(names)}
    missing = [name for name in image_ids if name not in row_of]
    if missing:
        table_name = "vision_features" if layers else "dual_image_embeddings"
        raise UserError(
            f"{table_name} lacks {len(missing):,} photos of the image index, such as {missing[0]}. "
            "Rerun `kedro run --pipeline=vision`."
        )
    order = [row_of[name] for name in image_ids]
    parts = _parts(features, layers, order, parameters)
    return build_index(parts, image_ids, product_ids, selection, parameters)


def _source(
    vision_features: Table | Skipped,
    photo_projection: FileRef | Skipped,
    dual_image_embeddings: Table | Skipped,
) -> tuple[Table, Layers | None]:
    """Return the vectors of photos, and the layers that project them; None if they need no projection."""
    from safetensors.numpy import load

    if not isinstance(dual_image_embeddings, Skipped):
        return dual_image_embeddings, None
    if isinstance(vision_features, Skipped):
        raise InsufficientDataError(vision_features.reason)
    if isinstance(photo_projection, Skipped):
        raise InsufficientDataError(photo_projection.reason)
    return vision_features, Layers(**load(photo_projection.read()))


def _parts(
    features: Table, layers: Layers | None, order: list[int], parameters: IndexParameters
) -> Iterator[NDArray[np.float32]]:
    rows = parameters.rows_per_part
    for start in range(0, len(order), rows):
        vectors = l2_normalize(features.vectors(order[start : start + rows], "features"))
        yield vectors if layers is None else project(layers, vectors)
