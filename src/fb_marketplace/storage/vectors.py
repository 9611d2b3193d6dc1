"""Table of vectors by id."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.storage.keyed_table import Table


class VectorTable(NamedTuple):
    """Vectors by name.

    Attributes:
        ids: what each row is of.
        matrix: float32, (rows, dimension).
    """

    ids: tuple[str, ...]
    matrix: NDArray[np.float32]

    def of(self, ids: list[str]) -> NDArray[np.float32]:
        """Give the vectors of these, in this order."""
        place = {name: row for row, name in enumerate(self.ids)}
        return self.matrix[[place[name] for name in ids]]


def read_vectors(table: Table, ids: str, column: str) -> VectorTable:
    """Read all vectors of a table.

    Args:
        table: a Lance table.
        ids: the column of names.
        column: the column of vectors.
    """
    order = table.order(ids).tolist()
    names = table.take(order, [ids]).column(ids).to_pylist()
    return VectorTable(tuple(names), table.vectors(order, column))
