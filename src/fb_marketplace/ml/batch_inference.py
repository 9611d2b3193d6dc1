"""Batch inference over the photos of the lake: each core loads and encodes its own batches.

Cores that share a batch would wait for each other at every layer. The output for a photo does not depend on
its batch, and small batches are as fast as large ones (``benchmarks/encoding.py``).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.compute.parallel import available_cores
from fb_marketplace.observability.progress import Progress
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace.storage.keys import KeyArray, Keys
from fb_marketplace_serving.encoders.image import Encoder, Encoding
from fb_marketplace_serving.imaging import canonical

PREFETCHED_BATCHES: Final = 32
"""Batches per core to encode ahead while the caller commits others; only outputs stay in memory."""


class EncodedPhoto(NamedTuple):
    """Output of an encoder for a photo.

    Attributes:
        row: position in the table ``images``.
        probabilities: float32, (classes,).
        embedding: float32, (dimension,).
    """

    row: int
    probabilities: NDArray[np.float32]
    embedding: NDArray[np.float32]


def encode_missing(
    load_encoder: Callable[[], Encoder],
    images: Table,
    keys: KeyArray,
    existing_keys: Iterable[str],
    photos_per_batch: int,
    rows_per_commit: int,
) -> Iterator[list[EncodedPhoto]]:
    """Encode the photos whose keys do not exist yet, in the order of their ids.

    Only complete batches are yielded, so that a resumed run has the same batches as the interrupted one.

    Args:
        load_encoder: returns the encoder; called only if a photo is missing.
        images: the canonical photos.
        keys: key of each photo, by position in the table.
        existing_keys: keys to skip.
        photos_per_batch: photos per batch of a core.
        rows_per_commit: minimum number of photos per yielded list, except the last one.
    """
    order = images.order("image_id")
    missing = order[~Keys(existing_keys).contains(keys)[order]].tolist()
    if not missing:
        return
    pending: list[EncodedPhoto] = []
    with Progress("photos encoded", len(keys), len(keys) - len(missing)) as progress:
        for rows, encoding in encode_rows(load_encoder(), images, missing, photos_per_batch):
            pending += map(EncodedPhoto, rows, *encoding)
            progress.advance(len(rows))
            if len(pending) >= rows_per_commit:
                yield pending
                pending = []
        if pending:
            yield pending


def encode_rows(
    encoder: Encoder, images: Table, rows: Sequence[int], photos_per_batch: int
) -> Iterator[tuple[list[int], Encoding]]:
    """Encode the photos at given positions of the table ``images``.

    Yields:
        Positions and the encoder's output, batch by batch.
    """
    batches = [
        list(rows[start : start + photos_per_batch])
        for start in range(0, len(rows), photos_per_batch)
    ]
    cores = available_cores()
    pool = ThreadPoolExecutor(cores)
    pending: deque[tuple[list[int], Future[Encoding]]] = deque()
    try:
        for batch in batches:
            pending.append((batch, pool.submit(_encode, encoder, images, batch)))
            if len(pending) > PREFETCHED_BATCHES * cores:
                first, encoding = pending.popleft()
                yield first, encoding.result()
        for last, encoding in pending:
            yield last, encoding.result()
    finally:
        pool.shutdown(cancel_futures=True)


def open_encoder(graph: bytes) -> Encoder:
    """Open an encoder for parallel batches: each batch runs on one thread."""
    return Encoder.from_bytes(graph, threads=1)


def _encode(encoder: Encoder, images: Table, rows: Sequence[int]) -> Encoding:
    jpegs = images.take(rows, ["jpeg"]).column("jpeg").to_pylist()
    return encoder.encode(np.stack([canonical.decode_canonical(jpeg) for jpeg in jpegs]))
