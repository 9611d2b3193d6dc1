"""Photos put where words find them, and made searchable; row by row as in the index of photos."""

import io
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.ann.index_selection import select_index
from fb_marketplace.errors import UserError
from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace.pipelines.text.cross_modal_projection import Layers, l2_normalize, project
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.ann.build import flat_index
from fb_marketplace_serving.ann.faiss_index import FaissIndex
from fb_marketplace_serving.ann.index import Index


class BuiltIndex(NamedTuple):
    """An index and its ids, as files, and what is to be known of them."""

    vectors: bytes
    ids: bytes
    card: dict[str, Any]


def build_text_to_image_index(
    vision_features: Table,
    photo_projection: FileRef,
    image_index_ids: FileRef,
    parameters: IndexParameters,
) -> BuiltIndex:
    """Put photos into the space that they share with words, and index them.

    Args:
        vision_features: of the photos.
        photo_projection: the network, safetensors.
        image_index_ids: photo and listing of each row of the index of photos.
        parameters: the kind of index, and how much of what is nearest it has to find.

    Raises:
        UserError: a photo of the index has no features; or the kind that is named does not find so much.
    """
    import pyarrow.parquet as pq
    from safetensors.numpy import load

    layers = Layers(**load(photo_projection.read()))
    rows = pq.ParquetFile(io.BytesIO(image_index_ids.read())).read()
    image_ids, product_ids = (rows.column(name).to_pylist() for name in ("image_id", "product_id"))
    names = vision_features.read(["image_id"]).column("image_id").to_pylist()
    place = {name: row for row, name in enumerate(names)}
    lost = [name for name in image_ids if name not in place]
    if lost:
        raise UserError(
            f"found {len(lost):,} photos of the index without features, such as {lost[0]}; expected none: "
            "kedro run --pipeline=vision"
        )
    order = [place[name] for name in image_ids]
    parts = _parts(vision_features, layers, order, parameters.rows_per_part)
    chosen = select_index(FaissIndex(flat_index(parts, len(order))), parameters)
    return BuiltIndex(
        *Index(chosen.vectors, image_ids, product_ids).to_bytes(),
        chosen.card | {"asked_recall": parameters.recall, "vectors": len(image_ids)},
    )


def _parts(
    table: Table, layers: Layers, order: list[int], rows: int
) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(order), rows):
        features = table.vectors(order[start : start + rows], "features")
        yield project(layers, l2_normalize(features))
