"""Below each category, the paths that a head tells apart: what it says of a category is their sum.

A linear layer has one direction for each thing that it knows. "Home & Garden" is no one thing, and is
seen better as chairs or lamps or curtains than as what these have in common.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.parameters import VisionParameters


class Paths(NamedTuple):
    """Paths, numbered category by category.

    Attributes:
        of: int64, (photos,), the number of each photo's path.
        counts: how many each category has: its paths of photos enough, and one for all others.
            Empty: none are told apart, and ``of`` is the category's own number.
    """

    of: NDArray[np.int64]
    counts: tuple[int, ...] = ()


def paths_of(photos: pd.DataFrame, labels: tuple[str, ...], parameters: VisionParameters) -> Paths:
    """Number the paths of photos; what photos enough are is counted in training alone.

    Args:
        photos: ``category``, ``category_path`` and ``split`` of each.
        labels: the categories, sorted.
        parameters: how many photos a path needs; without a weight none are told apart.
    """
    classes = np.asarray([labels.index(each) for each in photos["category"]], dtype=np.int64)
    if not parameters.path_weight:
        return Paths(classes)
    numbers: dict[tuple[str, str], int] = {}
    others: list[int] = []
    counts: list[int] = []
    for label in labels:
        learnt = photos[(photos["category"] == label) & (photos["split"] == "train")]
        seen = learnt["category_path"].value_counts()
        common = sorted(seen[seen >= parameters.path_photos].index)
        first = sum(counts)
        numbers |= {(label, path): first + place for place, path in enumerate(common)}
        others.append(first + len(common))
        counts.append(len(common) + 1)
    named = zip(photos["category"], photos["category_path"], classes.tolist(), strict=True)
    of = [numbers.get((label, path), others[place]) for label, path, place in named]
    return Paths(np.asarray(of, dtype=np.int64), tuple(counts))
