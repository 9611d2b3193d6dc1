"""Predictions as arrays: what was said of each case, and what is true."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray


class Predictions(NamedTuple):
    """Cases with what was said of them.

    Attributes:
        probabilities: float64, (cases, labels).
        classes: int64, (cases,), the true one's place in the labels.
        groups: (cases,), the group of each.
    """

    probabilities: NDArray[np.float64]
    classes: NDArray[np.int64]
    groups: NDArray[np.str_]

    @property
    def said(self) -> NDArray[np.int64]:
        """The likeliest class of each case."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether that is the true one."""
        return np.asarray(self.said == self.classes)

    @property
    def confidences(self) -> NDArray[np.float64]:
        """What was said of the likeliest class."""
        return np.asarray(self.probabilities.max(axis=1), dtype=np.float64)


def class_labels(products: pd.DataFrame) -> tuple[str, ...]:
    """Give the root categories in the order of probabilities."""
    return tuple(sorted(set(products["category"])))


def predictions_for_split(
    predictions: pd.DataFrame,
    split: str,
    labels: tuple[str, ...],
    column: str = "probabilities",
) -> Predictions:
    """Take the answers of a split that has them; rows whose column is missing are left out."""
    part = predictions[(predictions["split"] == split) & predictions[column].notna()]
    places = {label: place for place, label in enumerate(labels)}
    return Predictions(
        to_matrix(part[column], len(labels)),
        np.asarray([places[category] for category in part["category"]], dtype=np.int64),
        part["group"].to_numpy(dtype=np.str_),
    )


def to_matrix(probabilities: "pd.Series[Any]", labels: int) -> NDArray[np.float64]:
    """Make one array of a column of lists: float64, (rows, labels)."""
    rows = [np.asarray(row, dtype=np.float64) for row in probabilities]
    return np.asarray(rows, dtype=np.float64).reshape(len(rows), labels)
