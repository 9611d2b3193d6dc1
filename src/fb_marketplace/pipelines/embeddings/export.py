"""Export of embeddings to JSON in the original project's format: an object of vectors by photo id."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from fb_marketplace.storage.keyed_table import Table

BATCH_SIZE: Final = 1024


def export_embeddings_json(image_embeddings: Table) -> Callable[[], Iterator[bytes]]:
    """Write one photo per line, sorted by id, with enough digits to restore each float32.

    Returns:
        A function that yields the JSON in chunks while it reads the table.
    """
    return partial(_json_pieces, image_embeddings)


def _json_pieces(table: Table) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.compute as pc

    order, prefix = table.order("image_id").tolist(), "{"
    for start in range(0, len(order), BATCH_SIZE):
        part = table.take(order[start : start + BATCH_SIZE], ["image_id", "embedding"])
        digits = part.column("embedding").combine_chunks().cast(pa.list_(pa.string()))
        for image_id, numbers in zip(
            part.column("image_id").to_pylist(),
            pc.binary_join(digits, ", ").to_pylist(),
            strict=True,
        ):
            yield f"{prefix}\n{json.dumps(image_id)}: [{numbers}]".encode()
            prefix = ","
    yield b"\n}\n" if order else b"{}\n"
