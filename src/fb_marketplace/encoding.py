"""Photos of the lake through an encoder, in batches: decoding goes on while the encoder works."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.batches import available_cores
from fb_marketplace.tables import Table
from fb_marketplace_serving import photos
from fb_marketplace_serving.encoder import Encoder, Encoding


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
