"""Vectors by id."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.storage.keyed_table import Table


class VectorTable(NamedTuple):
    """Vectors by id.

    Attributes:
        ids: the id of each row.
        matrix: float32, (rows, dimension).
    """

    ids: tuple[str, ...]
    matrix: NDArray[np.float32]

    def select(self, ids: list[str]) -> NDArray[np.float32]:
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
    return VectorTable(tuple(stored[row] for row in order), table.vectors(order, column))


class StoredVectors:
    """Vectors of a table by id, read when they are selected.

    Attributes:
        ids: all ids, sorted.
    """

    def __init__(self, table: Table, ids: str, column: str) -> None:
        """Read the ids.

        Args:
            table: a Lance table.
            ids: the column of ids.
            column: the column of vectors.
        """
        self._table, self._column = table, column
        names = table.read([ids]).column(ids).to_pylist()
        self._rows = {name: row for row, name in enumerate(names)}
        self.ids = sorted(self._rows)

    def select(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of these ids, in this order: float32, (len(ids), dimension)."""
        return self._table.vectors([self._rows[name] for name in ids], self._column)
