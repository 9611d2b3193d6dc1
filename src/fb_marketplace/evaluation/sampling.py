"""Samples that hardly change if the data changes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def sample_rows(ids: Sequence[str], count: int, seed: int) -> NDArray[np.int64]:
    """Sample rows by their ids, so that the next run, with other rows, samples mostly the same.

    Each id has a number that depends on nothing else; those with the smallest numbers are sampled.

    Args:
        ids: unique ids.
        count: size of the sample.
        seed: seed of the numbers.

    Returns:
        int64, at most ``count``, in ascending order; all rows if there are no more.
    """
    if len(ids) <= count:
        return np.arange(len(ids))
    return np.sort(sample_order(ids, seed)[:count])


def sample_order(ids: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Return all rows in the order in which :func:`sample_rows` takes them."""
    numbers = pd.util.hash_array(
        np.asarray(ids, dtype=object), hash_key=f"{seed:016}"[-16:], categorize=False
    )
    return np.argsort(numbers, kind="stable")
