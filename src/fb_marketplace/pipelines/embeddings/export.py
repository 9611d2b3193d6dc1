"""Vectors as the original wrote them: one JSON object, from the id of a photo to its numbers."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from fb_marketplace.storage.keyed_table import Table

BATCH_SIZE: Final = 1024


def export_embeddings_json(image_embeddings: Table) -> Callable[[], Iterator[bytes]]:
    """Write each photo's vector, a photo a line, in the order of their ids.

    Numbers have as many digits as tell a float32 from its neighbours: what is read back is the same vector.

    Returns:
        What gives the JSON piece by piece, read from the table as it is written.
    """
    return partial(_pieces, image_embeddings)


def _pieces(table: Table) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.compute as pc

    order, before = table.order("image_id").tolist(), "{"
    for start in range(0, len(order), BATCH_SIZE):
        part = table.take(order[start : start + BATCH_SIZE], ["image_id", "embedding"])
        digits = part.column("embedding").combine_chunks().cast(pa.list_(pa.string()))
        for image_id, numbers in zip(
            part.column("image_id").to_pylist(),
            pc.binary_join(digits, ", ").to_pylist(),
            strict=True,
        ):
            yield f"{before}\n{json.dumps(image_id)}: [{numbers}]".encode()
            before = ","
    yield b"\n}\n" if order else b"{}\n"
