"""Thumbnails of photos as feature vectors."""

import io
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fb_marketplace.observability.progress import Progress
from fb_marketplace.storage.keyed_table import Table

PHOTOS_PER_BATCH: Final = 256


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
    ids = images.read(["image_id"]).column("image_id").to_pylist()
    order = [
        row for row in images.order("image_id").tolist() if selected is None or ids[row] in selected
    ]
    pixels = np.empty((len(order), side * side * 3), dtype=np.float32)
    with Progress("photos reduced", len(order)) as progress:
        for start in range(0, len(order), PHOTOS_PER_BATCH):
            rows = images.take(order[start : start + PHOTOS_PER_BATCH], ["jpeg"])
            for position, jpeg in enumerate(rows.column("jpeg").to_pylist(), start):
                pixels[position] = to_thumbnail(jpeg, side).ravel()
            progress.advance(len(rows))
    pixels /= 255  # in place, to save memory
    pixels -= 0.5
    return Thumbnails([ids[row] for row in order], pixels)


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
