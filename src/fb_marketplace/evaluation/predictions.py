"""Class predictions as arrays, with their targets."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray


class Predictions(NamedTuple):
    """Predicted probabilities of cases.

    Attributes:
        probabilities: float64, (cases, labels).
        targets: int64, (cases,), index of the true label.
        groups: (cases,), the group of each case.
    """

    probabilities: NDArray[np.float64]
    targets: NDArray[np.int64]
    groups: NDArray[np.str_]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Index of the most probable label: (cases,)."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the most probable label is the true one: (cases,)."""
        return np.asarray(self.predicted == self.targets)

    @property
    def confidences(self) -> NDArray[np.float64]:
        """Probability of the most probable label: (cases,)."""
        return np.asarray(self.probabilities.max(axis=1), dtype=np.float64)


def class_labels(products: pd.DataFrame) -> tuple[str, ...]:
    """Return the sorted root categories: the column order of probabilities."""
    return tuple(sorted(set(products["category"])))


def predictions_for_split(
    predictions: pd.DataFrame,
    split: str,
    labels: tuple[str, ...],
    column: str = "probabilities",
) -> Predictions:
    """Return the predictions of a split; rows without a value in the column are skipped."""
    part = predictions[(predictions["split"] == split) & predictions[column].notna()]
    index = {label: position for position, label in enumerate(labels)}
    return Predictions(
        to_matrix(part[column], len(labels)),
        np.asarray([index[category] for category in part["category"]], dtype=np.int64),
        part["group"].to_numpy(dtype=np.str_),
    )


def to_matrix(probabilities: "pd.Series[Any]", labels: int) -> NDArray[np.float64]:
    """Return a column of lists as an array: float64, (rows, labels)."""
    rows = [np.asarray(row, dtype=np.float64) for row in probabilities]
    return np.asarray(rows, dtype=np.float64).reshape(len(rows), labels)
