"""Category paths as finer classes: the probability of a category is the sum over its paths.

A linear layer has one weight vector per class. "Home & Garden" has no common look; chairs, lamps and
curtains are easier to learn.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.parameters.vision import VisionParameters


class CategoryPaths(NamedTuple):
    """Path classes, numbered category by category.

    Attributes:
        classes: int64, (photos,), the path class of each photo.
        counts: number of path classes of each category: its frequent paths, and one for all others.
    """

    classes: NDArray[np.int64]
    counts: tuple[int, ...]


def category_paths(
    photos: pd.DataFrame, labels: tuple[str, ...], parameters: VisionParameters
) -> CategoryPaths | None:
    """Number the paths of photos.

    Args:
        photos: ``category``, ``category_path`` and ``split`` of each photo; training photos are counted.
        labels: the root categories, sorted.
        parameters: weight of the path loss, and minimum photos per path.

    Returns:
        The path classes; None if only categories are learned.
    """
    if not parameters.path_loss_weight:
        return None
    numbers: dict[tuple[str, str], int] = {}
    others: dict[str, int] = {}
    counts: list[int] = []
    for label in labels:
        training = photos[(photos["category"] == label) & (photos["split"] == "train")]
        frequency = training["category_path"].value_counts()
        frequent = sorted(frequency[frequency >= parameters.min_photos_per_path].index)
        first = sum(counts)
        numbers |= {(label, path): first + position for position, path in enumerate(frequent)}
        others[label] = first + len(frequent)
        counts.append(len(frequent) + 1)
    pairs = zip(photos["category"], photos["category_path"], strict=True)
    classes = [numbers.get((label, path), others[label]) for label, path in pairs]
    return CategoryPaths(np.asarray(classes, dtype=np.int64), tuple(counts))
