"""Photos of the lake through an encoder, in batches: decoding goes on while the encoder works."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.batches import available_cores
from fb_marketplace.progress import Progress
from fb_marketplace.tables import Table
from fb_marketplace_serving import photos
from fb_marketplace_serving.encoder import Encoder, Encoding


class Encoded(NamedTuple):
    """A photo, by its position in the table ``images``, and what an encoder made of it.

    Attributes:
        row: the position.
        probabilities: float32, (classes,).
        embedding: float32, (dimension,).
    """

    row: int
    probabilities: NDArray[np.float32]
    embedding: NDArray[np.float32]


def encode_missing(
    open_: Callable[[], Encoder],
    images: Table,
    keys: Sequence[str],
    held: frozenset[str],
    photos_per_batch: int,
    rows_per_commit: int,
) -> Iterator[list[Encoded]]:
    """Encode the photos whose keys are not held, in the order of their ids.

    Args:
        open_: gives the encoder; not called where nothing is missing.
        images: the canonical photos.
        keys: of each photo, by position.
        held: those that need not be made again.
        photos_per_batch: photos that the encoder takes at once.
        rows_per_commit: photos that are given at once, or a few more.
    """
    missing = [row for row in images.order("image_id").tolist() if keys[row] not in held]
    if not missing:
        return
    waiting: list[Encoded] = []
    with Progress("photos encoded", len(keys), len(keys) - len(missing)) as progress:
        for rows, encoding in encode_rows(open_(), images, missing, photos_per_batch):
            waiting += map(Encoded, rows, *encoding)
            progress.advance(len(rows))
            if len(waiting) >= rows_per_commit:
                yield waiting
                waiting = []
        if waiting:
            yield waiting


def encode_rows(
    encoder: Encoder, images: Table, rows: Sequence[int], photos_per_batch: int
) -> Iterator[tuple[list[int], Encoding]]:
    """Encode photos at these positions of the table ``images``.

    Yields:
        Positions, and what the encoder made of the photos there, batch by batch.
    """
    cuts = [
        list(rows[start : start + photos_per_batch])
        for start in range(0, len(rows), photos_per_batch)
    ]
    with ThreadPoolExecutor(1) as reader:
        read = [reader.submit(_pixels, images, cut) for cut in cuts[:1]]
        for place, cut in enumerate(cuts):
            batch = read.pop().result()
            read += [reader.submit(_pixels, images, after) for after in cuts[place + 1 : place + 2]]
            yield cut, encoder.encode(batch)


def open_encoder(graph: bytes) -> Encoder:
    """Open an encoder with as many threads as there are cores for this process."""
    return Encoder.from_bytes(graph, available_cores())


def _pixels(images: Table, rows: Sequence[int]) -> NDArray[np.uint8]:
    jpegs = images.take(rows, ["jpeg"]).column("jpeg").to_pylist()
    return np.stack([photos.pixels(jpeg) for jpeg in jpegs])
