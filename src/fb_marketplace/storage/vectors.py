"""Vectors by id."""

from collections.abc import Collection
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.storage.keyed_table import Table

ROWS_PER_PART: Final = 16384
"""Rows read at a time: a read has several copies of its rows in memory."""


class VectorTable(NamedTuple):
    """Vectors by id.

    Attributes:
        ids: the id of each row.
        matrix: float32, (rows, dimension).
    """

    ids: tuple[str, ...]
    matrix: NDArray[np.float32]

    def of(self, ids: list[str]) -> NDArray[np.float32]:
        """Return the vectors of these ids, in this order: float32, (len(ids), dimension)."""
        rows = {name: row for row, name in enumerate(self.ids)}
        return self.matrix[[rows[name] for name in ids]]


def read_vectors(
    table: Table, ids: str, column: str, selected: Collection[str] | None = None
) -> VectorTable:
    """Read vectors of a table, sorted by id.

    Args:
        table: a Lance table.
        ids: the column of ids.
        column: the column of vectors.
        selected: ids of the vectors to read; None reads all.
    """
    stored = table.read([ids]).column(ids).to_pylist()
    order = [
        row for row in table.order(ids).tolist() if selected is None or stored[row] in selected
    ]
    matrix = np.empty((0, 1), np.float32)
    for start in range(0, len(order), ROWS_PER_PART):
        part = table.vectors(order[start : start + ROWS_PER_PART], column)
        if not start:
            matrix = np.empty((len(order), part.shape[1]), np.float32)
        matrix[start : start + len(part)] = part
    return VectorTable(tuple(stored[row] for row in order), matrix)
