"""Thumbnails of photos as feature vectors."""

import io
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fb_marketplace.compute.shards import map_shards
from fb_marketplace.observability.progress import Progress
from fb_marketplace.storage.keyed_table import Rows, Table

PHOTOS_PER_SHARD: Final = 256


class Thumbnails(NamedTuple):
    """Photo ids, sorted, and their pixels: float32, (photos, side · side · 3), −0.5 to 0.5."""

    image_ids: list[str]
    pixels: NDArray[np.float32]


def load_thumbnails(images: Table, side: int, selected: frozenset[str] | None = None) -> Thumbnails:
    """Load photos as thumbnails.

    Args:
        images: the canonical photos.
        side: side in pixels; must divide 256.
        selected: ids of the photos to load; None loads all.
    """
    import pyarrow as pa

    ids = images.read(["image_id"]).column("image_id").to_pylist()
    order = [
        row for row in images.order("image_id").tolist() if selected is None or ids[row] in selected
    ]
    pixels = np.empty((len(order), side * side * 3), dtype=np.float32)
    shards = (
        pa.table({"order": range(start, start + len(rows)), "row": rows})
        for start in range(0, len(order), PHOTOS_PER_SHARD)
        for rows in (order[start : start + PHOTOS_PER_SHARD],)
    )
    reduce = partial(_reduce_shard, images=images, side=side)
    with Progress("photos reduced", len(order)) as progress:
        # Pillow releases the GIL.
        for reduced in map_shards(reduce, shards, threads=True):
            values = np.frombuffer(b"".join(reduced["pixels"].to_pylist()), np.uint8)
            pixels[reduced["order"].to_numpy()] = values.reshape(len(reduced), -1)
            progress.advance(len(reduced))
    pixels /= 255  # in place, to save memory
    pixels -= 0.5
    return Thumbnails([ids[row] for row in order], pixels)


def _reduce_shard(shard: Rows, images: Table, side: int) -> Rows:
    """Return ``order`` and ``pixels`` of the photos of a shard."""
    import pyarrow as pa

    jpegs = images.take(shard["row"].to_pylist(), ["jpeg"])["jpeg"].to_pylist()
    pixels = [to_thumbnail(jpeg, side).tobytes() for jpeg in jpegs]
    return pa.table({"order": shard["order"], "pixels": pa.array(pixels, pa.binary())})


def to_thumbnail(jpeg: bytes, side: int) -> NDArray[np.uint8]:
    """Decode a canonical photo at the smallest sufficient scale of libjpeg, and reduce it.

    Args:
        jpeg: a canonical photo.
        side: side in pixels; must divide 256.

    Returns:
        uint8, (side, side, 3), RGB.
    """
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        image.draft("RGB", (side, side))
        return np.asarray(image.reduce(image.width // side), dtype=np.uint8)
