"""The protocol between search and the vectors that it compares, in memory, in a file or in a table."""

from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = NDArray[np.int64]

MIN_REACH: Final = 11
"""Minimum number of rows to fetch: settings were tuned for ten, and one more reveals a tie."""


class CandidateSource(Protocol):
    """Vectors by row. The source selects candidates; :mod:`knn` ranks them by their exact distances.

    Implementations are thread-safe.
    """

    def __len__(self) -> int:
        """Return the number of vectors."""

    @property
    def dimension(self) -> int:
        """Number of dimensions of a vector."""

    def top(self, query: NDArray[np.float32], count: int, allowed: Rows | None = None) -> Rows:
        """Return the rows nearest to a query, in any order. More rows than requested are allowed.

        Args:
            query: float32, (1, dimension).
            count: number of rows, at most the number of allowed rows.
            allowed: the rows to search, sorted; None for all.

        Returns:
            int64, (at least count,).
        """

    def within(
        self, query: NDArray[np.float32], radius: float, allowed: Rows | None = None
    ) -> Rows:
        """Return all rows within a radius by exhaustive search.

        Args:
            query: float32, (1, dimension).
            radius: squared L2 distance.
            allowed: the rows to compare; None for all.

        Returns:
            int64, (matches,), in no particular order.
        """

    def vectors(self, rows: Rows) -> NDArray[np.float32]:
        """Return a copy of some vectors: float32, (rows, dimension).

        Args:
            rows: int64, (rows,), in any order.
        """

    def locate(self, rows: Rows) -> tuple[NDArray[np.float32], Rows]:
        """Return a matrix that has some vectors, and their rows in it. It may be all vectors.

        Args:
            rows: int64, (rows,), in any order.

        Returns:
            float32, (any, dimension), C-contiguous, and int64, (rows,).
        """
