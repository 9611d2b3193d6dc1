"""Batch inference over the photos of the lake: each worker loads and encodes its own shards.

Cores that share a batch would wait for each other at every layer. The output for a photo does not depend on
its batch, and small batches are as fast as large ones (``benchmarks/encoding.py``).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.compute.shards import PerProcess, map_shards
from fb_marketplace.observability.progress import Progress
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Rows, Table
from fb_marketplace.storage.keys import KeyArray, Keys
from fb_marketplace.storage.table_writer import table_sink
from fb_marketplace_serving.encoders.image import Encoder, Encoding
from fb_marketplace_serving.imaging import canonical

PHOTOS_PER_BATCH: Final = 8
PHOTOS_PER_SHARD: Final = 32
"""Photos per shard: about a second of work."""


def encode_missing(
    load_graph: Callable[[], FileRef | bytes],
    images: Table,
    keys: KeyArray,
    existing_keys: Iterable[str],
    make_rows: Callable[[Rows], Rows],
    photos_per_batch: int = PHOTOS_PER_BATCH,
    photos_per_shard: int = PHOTOS_PER_SHARD,
) -> Iterator[Rows]:
    """Encode the photos whose keys do not exist yet, beginning with the first ids.

    Args:
        load_graph: returns the encoder; called only if a photo is missing.
        images: the canonical photos.
        keys: key of each photo, by position in the table.
        existing_keys: keys to skip.
        make_rows: makes a table's rows from ``key``, ``image_id``, ``sha256``, ``probabilities`` and
            ``embedding``; picklable.
        photos_per_batch: photos that the encoder computes at a time.
        photos_per_shard: photos per shard.

    Yields:
        The rows of each shard, in any order.
    """
    import pyarrow as pa

    order = images.order("image_id")
    missing = order[~Keys(existing_keys).contains(keys)[order]]
    if not len(missing):
        return
    encode = _ShardEncoder(load_graph(), images, photos_per_batch, make_rows)
    shards = (
        pa.table({"row": rows, "key": keys.take(pa.array(rows))})
        for rows in _split(missing, photos_per_shard)
    )
    sink = table_sink(existing_keys)
    with Progress("photos encoded", len(keys), len(keys) - len(missing)) as progress:
        for rows in map_shards(encode, shards, sink, threads=True):
            progress.advance(len(rows))
            yield rows


def encode_rows(graph: FileRef | bytes, images: Table, rows: Sequence[int]) -> Encoding:
    """Encode the photos at given positions of the table ``images``.

    Returns:
        The encodings, in the order of the positions.
    """
    import pyarrow as pa

    positions = np.array(rows, dtype=np.int64)
    shards = (
        pa.table({"order": order, "row": positions[order]})
        for order in _split(np.arange(len(positions)), PHOTOS_PER_SHARD)
    )
    encode = _ShardEncoder(graph, images)
    encoded = pa.concat_tables(map_shards(encode, shards, threads=True)).sort_by("order")
    return Encoding(*(_matrix(encoded[name]) for name in ("probabilities", "embedding")))


def open_encoder(graph: FileRef | bytes) -> Encoder:
    """Open an encoder for parallel batches: each batch runs on one thread."""
    content = graph if isinstance(graph, bytes) else graph.read()
    return Encoder.from_bytes(content, threads=1)


class _ShardEncoder:
    """Encodes shards of photos. ONNX Runtime and Pillow release the GIL, so threads are enough."""

    def __init__(
        self,
        graph: FileRef | bytes,
        images: Table,
        photos_per_batch: int = PHOTOS_PER_BATCH,
        make_rows: Callable[[Rows], Rows] | None = None,
    ) -> None:
        self._encoder = PerProcess(partial(open_encoder, graph))
        self._images, self._photos_per_batch = images, photos_per_batch
        self._make_rows = make_rows

    def __call__(self, shard: Rows) -> Rows:
        """Append the columns ``image_id``, ``sha256``, ``probabilities`` and ``embedding``."""
        columns = ["image_id", "sha256", "jpeg"]
        photos = self._images.take(shard["row"].to_pylist(), columns)
        encoder, jpegs = self._encoder.get(), photos["jpeg"].to_pylist()
        encodings = [
            encoder.encode(
                np.stack(
                    [
                        canonical.decode_canonical(jpeg)
                        for jpeg in jpegs[start : start + self._photos_per_batch]
                    ]
                )
            )
            for start in range(0, len(jpegs), self._photos_per_batch)
        ]
        probabilities, embeddings = map(np.concatenate, zip(*encodings, strict=True))
        for name, column in (
            ("image_id", photos["image_id"]),
            ("sha256", photos["sha256"]),
            ("probabilities", to_lists(probabilities)),
            ("embedding", to_lists(embeddings)),
        ):
            shard = shard.append_column(name, column)
        return self._make_rows(shard) if self._make_rows else shard


def to_lists(matrix: NDArray[np.float32]) -> Any:
    """Return the rows of a matrix as an Arrow array of lists."""
    import pyarrow as pa

    lists = pa.FixedSizeListArray.from_arrays(matrix.ravel(), matrix.shape[1])
    return lists.cast(pa.list_(pa.float32()))


def _matrix(column: Any) -> NDArray[np.float32]:
    values: NDArray[np.float32] = column.combine_chunks().flatten().to_numpy()
    return values.reshape(len(column), -1)


def _split(rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return np.split(rows, range(size, len(rows), size))
