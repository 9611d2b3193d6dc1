"""Relevance grades of hits."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Grades = NDArray[np.int8]

SAME_PRODUCT: Final = 3
SAME_PATH: Final = 2
SAME_ROOT: Final = 1
UNRELATED: Final = 0
EXCLUDED: Final = -1
"""The query itself, its copies and near-duplicates: they are not counted as hits."""

DESCRIPTIONS: Final = {
    SAME_PRODUCT: "same listing",
    SAME_PATH: "same category path",
    SAME_ROOT: "same category",
    UNRELATED: "another category",
}
