"""What a network is to learn, of which photos."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.pipelines.vision.data.category_paths import CategoryPaths
from fb_marketplace.storage.keyed_table import Table


class TrainingTask(NamedTuple):
    """What is learned, of which photos.

    Attributes:
        images: the canonical photos.
        rows: of the training photos, positions in the table.
        classes: int64, of each, a place in ``labels``.
        paths: of each; None: the categories alone are told apart.
        validation_rows: of the photos that choices are made on.
        validation_classes: int64, of each.
    """

    images: Table
    rows: NDArray[np.int64]
    classes: NDArray[np.int64]
    paths: CategoryPaths | None
    validation_rows: NDArray[np.int64]
    validation_classes: NDArray[np.int64]
