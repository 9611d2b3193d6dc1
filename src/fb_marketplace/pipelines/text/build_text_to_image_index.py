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
from fb_marketplace.pipelines.text.cross_modal_projection import (
    Projection,
    l2_normalize,
    project_photos,
)
from fb_marketplace.skipping import InsufficientDataError, Skipped
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace.storage.vectors import StoredVectors


def select_text_to_image_index(
    block_features: Table | Skipped,
    photo_projection: FileRef | Skipped,
    dual_image_embeddings: Table | Skipped,
    parameters: IndexParameters,
) -> dict[str, Any]:
    """Select kind and settings of the index of photos.

    Args:
        block_features: pooled blocks of all backbones, by photo.
        photo_projection: the map of photos, safetensors.
        dual_image_embeddings: vectors of the dual encoder, by photo.
        parameters: kind of index and required recall.

    Raises:
        InsufficientDataError: there is neither a projection nor a dual encoder.
        UserError: the required recall is not reached.
    """
    features, projection = _source(block_features, photo_projection, dual_image_embeddings)
    parts = _parts(features, projection, features.ids, parameters)
    return select_kind(parts, len(features.ids), parameters)


def build_text_to_image_index(
    block_features: Table | Skipped,
    photo_projection: FileRef | Skipped,
    dual_image_embeddings: Table | Skipped,
    image_index_ids: FileRef,
    selection: Mapping[str, Any],
    parameters: IndexParameters,
) -> BuiltIndex:
    """Index the photos in the common space.

    Args:
        block_features: pooled blocks of all backbones, by photo.
        photo_projection: the map of photos, safetensors.
        dual_image_embeddings: vectors of the dual encoder, by photo.
        image_index_ids: photo and listing of each row of the image index.
        selection: selected kind and settings.
        parameters: required recall.

    Raises:
        InsufficientDataError: there is neither a projection nor a dual encoder.
        UserError: a photo of the image index has no features, or the required recall is not reached.
    """
    import pyarrow.parquet as pq

    features, projection = _source(block_features, photo_projection, dual_image_embeddings)
    table = pq.ParquetFile(io.BytesIO(image_index_ids.read())).read()
    image_ids, product_ids = (table.column(name).to_pylist() for name in ("image_id", "product_id"))
    known = set(features.ids)
    missing = [name for name in image_ids if name not in known]
    if missing:
        table_name = "block_features" if projection else "dual_image_embeddings"
        raise UserError(
            f"{table_name} lacks {len(missing):,} photos of the image index, such as {missing[0]}. "
            "Rerun `kedro run --pipeline=vision`."
        )
    parts = _parts(features, projection, image_ids, parameters)
    return build_index(parts, image_ids, product_ids, selection, parameters)


def _source(
    block_features: Table | Skipped,
    photo_projection: FileRef | Skipped,
    dual_image_embeddings: Table | Skipped,
) -> tuple[StoredVectors, Projection | None]:
    """Return the vectors of photos, and the map that projects them; None if they need none."""
    from safetensors.numpy import load

    if not isinstance(dual_image_embeddings, Skipped):
        return StoredVectors(dual_image_embeddings, "image_id", "features"), None
    if isinstance(block_features, Skipped):
        raise InsufficientDataError(block_features.reason)
    if isinstance(photo_projection, Skipped):
        raise InsufficientDataError(photo_projection.reason)
    features = StoredVectors(block_features, "image_id", "features")
    return features, Projection(**load(photo_projection.read()))


def _parts(
    features: StoredVectors,
    projection: Projection | None,
    image_ids: list[str],
    parameters: IndexParameters,
) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(image_ids), parameters.rows_per_part):
        part = image_ids[start : start + parameters.rows_per_part]
        if projection is None:
            yield l2_normalize(features.select(part))
        else:
            yield project_photos(features, part, projection)
