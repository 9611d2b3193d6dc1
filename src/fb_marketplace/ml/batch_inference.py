"""Photos of the lake through an encoder: each core reads, decodes and encodes a batch of its own.

Cores that share a batch wait for each other at every layer; what an encoder makes of a photo does not
depend on the batch, so that small ones are as good, and as quick (``benchmarks/encoding.py``).
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.compute.parallel import available_cores
from fb_marketplace.observability.progress import Progress
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.encoders.image import Encoder, Encoding
from fb_marketplace_serving.imaging import canonical

PREFETCHED_BATCHES: Final = 32
"""Batches a core that are encoded while whoever takes them commits others; only results wait."""


class EncodedBatch(NamedTuple):
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
) -> Iterator[list[EncodedBatch]]:
    """Encode the photos whose keys are not held, in the order of their ids.

    What is given is whole batches: a run that goes on after one that was killed cuts the rest as that one
    would have done.

    Args:
        open_: gives the encoder; not called where nothing is missing.
        images: the canonical photos.
        keys: of each photo, by position.
        held: those that need not be made again.
        photos_per_batch: photos that a core takes at once.
        rows_per_commit: photos that are given at once, or a few more.
    """
    missing = [row for row in images.order("image_id").tolist() if keys[row] not in held]
    if not missing:
        return
    waiting: list[EncodedBatch] = []
    with Progress("photos encoded", len(keys), len(keys) - len(missing)) as progress:
        for rows, encoding in encode_rows(open_(), images, missing, photos_per_batch):
            waiting += map(EncodedBatch, rows, *encoding)
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
    cores = available_cores()
    pool = ThreadPoolExecutor(cores)
    waiting: deque[tuple[list[int], Future[Encoding]]] = deque()
    try:
        for cut in cuts:
            waiting.append((cut, pool.submit(_encode, encoder, images, cut)))
            if len(waiting) > PREFETCHED_BATCHES * cores:
                first, encoding = waiting.popleft()
                yield first, encoding.result()
        for last, encoding in waiting:
            yield last, encoding.result()
    finally:
        pool.shutdown(cancel_futures=True)


def open_encoder(graph: bytes) -> Encoder:
    """Open an encoder for batches side by side: each is encoded by the one thread that asks."""
    return Encoder.from_bytes(graph, threads=1)


def _encode(encoder: Encoder, images: Table, rows: Sequence[int]) -> Encoding:
    return encoder.encode(_pixels(images, rows))


def _pixels(images: Table, rows: Sequence[int]) -> NDArray[np.uint8]:
    jpegs = images.take(rows, ["jpeg"]).column("jpeg").to_pylist()
    return np.stack([canonical.decode_canonical(jpeg) for jpeg in jpegs])
