"""The listings most alike to each: by what their texts mean, within a market, one a family."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.observability.progress import Progress

SIMILARITY_BATCH_SIZE: Final = 4_000_000
"""Bounds the memory: listings are taken in blocks, and no matrix of all by all is made."""

MAX_CANDIDATES: Final = 3
"""Times as many as are wanted; where they are of fewer families, fewer are found."""

NO_NEIGHBOR: Final = -1


class Kinds(NamedTuple):
    """What listings are, each as int32 (listings,).

    Attributes:
        market: only listings of the same one are alike.
        path: those of the same one are more so.
        family: those that show the same thing; none is alike to another of its own.
    """

    market: NDArray[np.int32]
    path: NDArray[np.int32]
    family: NDArray[np.int32]


class ComparableListings(NamedTuple):
    """The most alike listings of each, the most alike first.

    Attributes:
        rows: int32, (listings, most); -1 where there are no more.
        nearness: float32, (listings, most), cosines plus what a shared path adds; NaN where no more.
    """

    rows: NDArray[np.int32]
    nearness: NDArray[np.float32]


def find_comparable_listings(
    vectors: NDArray[np.float32], kinds: Kinds, most: int, same_path: float, least: float
) -> ComparableListings:
    """Find the most alike of other families, one of each family.

    A seller who lists a thing ten times would otherwise speak for ten.

    Args:
        vectors: float32, (listings, dimension), of length one.
        kinds: what the listings are.
        most: how many.
        same_path: what a shared path adds to the cosine.
        least: nearness below which listings are not alike.
    """
    rows = np.full((len(vectors), most), NO_NEIGHBOR, np.int32)
    nearness = np.full((len(vectors), most), np.nan, np.float32)
    with Progress("listings held against others", len(vectors)) as progress:
        for market in np.unique(kinds.market):
            here = np.flatnonzero(kinds.market == market)
            theirs = np.ascontiguousarray(vectors[here])
            path, family = kinds.path[here], kinds.family[here]
            size = max(1, SIMILARITY_BATCH_SIZE // len(here))
            for start in range(0, len(here), size):
                block = slice(start, start + size)
                near = theirs[block] @ theirs.T
                near += np.float32(same_path) * (path[block, np.newaxis] == path)
                near[(family[block, np.newaxis] == family) | (near < least)] = -np.inf
                places, found = _first(near, family, most)
                width = places.shape[1]
                rows[here[block], :width] = np.where(np.isnan(found), NO_NEIGHBOR, here[places])
                nearness[here[block], :width] = found
                progress.advance(len(near))
    return ComparableListings(rows, nearness)


def _first(
    near: NDArray[np.float32], family: NDArray[np.int32], most: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Give places and nearness of the nearest, one a family; NaN where there are no more."""
    looked_at = min(near.shape[1], MAX_CANDIDATES * most)
    some = np.argpartition(-near, looked_at - 1, axis=1)[:, :looked_at]
    # By place first, so that of equals the first in order leads.
    some.sort(axis=1)
    order = np.argsort(-np.take_along_axis(near, some, axis=1), axis=1, kind="stable")
    places = np.take_along_axis(some, order, axis=1)
    found = np.take_along_axis(near, places, axis=1)
    kept = _first_of_family(family[places]) & np.isfinite(found)
    first = np.argsort(~kept, axis=1, kind="stable")[:, :most]
    there = np.take_along_axis(kept, first, axis=1)
    return (
        np.take_along_axis(places, first, axis=1),
        np.where(there, np.take_along_axis(found, first, axis=1), np.nan).astype(np.float32),
    )


def _first_of_family(family: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Say where in each row a family stands for the first time."""
    order = np.argsort(family, axis=1, kind="stable")
    ordered = np.take_along_axis(family, order, axis=1)
    new = np.ones(family.shape, np.bool_)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.empty_like(new)
    np.put_along_axis(first, order, new, axis=1)
    return first
