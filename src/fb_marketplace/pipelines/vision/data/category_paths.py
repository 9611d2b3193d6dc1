"""Below each category, the paths that a head tells apart: what it says of a category is their sum.

A linear layer has one direction for each thing that it knows. "Home & Garden" is no one thing, and is
seen better as chairs or lamps or curtains than as what these have in common.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.parameters.vision import VisionParameters


class CategoryPaths(NamedTuple):
    """Paths, numbered category by category.

    Attributes:
        of: int64, (photos,), the number of each photo's path.
        counts: how many each category has: its paths of photos enough, and one for all others.
    """

    of: NDArray[np.int64]
    counts: tuple[int, ...]


def category_paths(
    photos: pd.DataFrame, labels: tuple[str, ...], parameters: VisionParameters
) -> CategoryPaths | None:
    """Number the paths of photos; None where the categories alone are told apart.

    Args:
        photos: ``category``, ``category_path`` and ``split`` of each; those of training are counted.
        labels: the categories, sorted.
        parameters: how many photos a path needs, and whether paths count.
    """
    if not parameters.path_weight:
        return None
    numbers: dict[tuple[str, str], int] = {}
    others: dict[str, int] = {}
    counts: list[int] = []
    for label in labels:
        learnt = photos[(photos["category"] == label) & (photos["split"] == "train")]
        seen = learnt["category_path"].value_counts()
        common = sorted(seen[seen >= parameters.path_photos].index)
        first = sum(counts)
        numbers |= {(label, path): first + place for place, path in enumerate(common)}
        others[label] = first + len(common)
        counts.append(len(common) + 1)
    named = zip(photos["category"], photos["category_path"], strict=True)
    of = [numbers.get((label, path), others[label]) for label, path in named]
    return CategoryPaths(np.asarray(of, dtype=np.int64), tuple(counts))
