"""Objectives: functions that evaluate parameters on the validation split."""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fb_marketplace.parameters.base import Parameters


class Objective(NamedTuple):
    """A section of the parameters, and a function that trains with it and evaluates the result.

    Attributes:
        section: name of the section, such as ``vision.head``.
        metric: name of the metric; higher is better.
        current: the current values of the section.
        groups: (cases,), the group of each validation case.
        key: digest of everything that results depend on, except the section.
        evaluate: function from values of the section to the metric of each case: float64, (cases,).
    """

    section: str
    metric: str
    current: Parameters
    groups: NDArray[Any]
    key: str
    evaluate: Callable[[Any], NDArray[np.float64]]


def arrays_digest(*arrays: ArrayLike) -> str:
    """Return a digest of arrays: their types, shapes and values."""
    digest = hashlib.sha256()
    for array in map(np.asarray, arrays):
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
