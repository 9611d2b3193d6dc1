"""What a network is to learn, of which photos."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.tables import Table

NO_PATH: Final = -1
"""Class of a photo whose category path is not learned."""


class Task(NamedTuple):
    """What is learned, of which photos.

    Attributes:
        images: the canonical photos.
        rows: of the training photos, positions in the table.
        classes: int64, of each, a place in ``labels``.
        paths: int64, of each, the number of its category path; ``NO_PATH``: not learned.
        validation_rows: of the photos that choices are made on.
        validation_classes: int64, of each.
    """

    images: Table
    rows: NDArray[np.int64]
    classes: NDArray[np.int64]
    paths: NDArray[np.int64]
    validation_rows: NDArray[np.int64]
    validation_classes: NDArray[np.int64]
