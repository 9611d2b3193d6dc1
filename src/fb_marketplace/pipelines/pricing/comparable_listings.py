"""Comparable listings: the most similar by text within a market, at most one per family."""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.observability.progress import Progress

SIMILARITY_BATCH_SIZE: Final = 4_000_000
"""Number of similarities computed at a time. It bounds memory: the full matrix is never built."""

MAX_COMPARED: Final = 8_000
"""Listings of a larger market are compared with about this many, in the clusters nearest to their own."""

CLUSTER_SIZE: Final = 100
"""Mean number of listings in a cluster of a larger market."""

MAX_CANDIDATES: Final = 3
"""Candidates per requested neighbor. If too many of them share a family, fewer neighbors are found."""

NO_NEIGHBOR: Final = -1


class Kinds(NamedTuple):
    """Market, category path and family of the listings, each int32, (listings,).

    Attributes:
        market: only listings of the same market are comparable.
        path: listings of the same category path get a bonus.
        family: listings of one family offer the same item, and are not comparable.
    """

    market: NDArray[np.int32]
    path: NDArray[np.int32]
    family: NDArray[np.int32]


class ComparableListings(NamedTuple):
    """Comparable listings of each listing, the most similar first.

    Attributes:
        rows: int32, (listings, count), padded with -1.
        similarity: float32, (listings, count), cosines plus the bonus, padded with NaN.
    """

    rows: NDArray[np.int32]
    similarity: NDArray[np.float32]


def find_comparable_listings(
    vectors: NDArray[np.float32],
    kinds: Kinds,
    count: int,
    same_path_bonus: float,
    min_similarity: float,
) -> ComparableListings:
    """Find the most similar listings of other families, at most one per family.

    Without the limit, a seller who lists an item ten times would count ten times. In a market with more
    than ``MAX_COMPARED`` listings, about 3 % of the most similar are missed.

    Args:
        vectors: float32, (listings, dimension), of unit length.
        kinds: market, path and family of the listings.
        count: number of comparable listings to find for each listing.
        same_path_bonus: added to the cosine if both listings have the same category path.
        min_similarity: minimum cosine plus bonus of a comparable listing.
    """
    rows = np.full((len(vectors), count), NO_NEIGHBOR, np.int32)
    similarity = np.full((len(vectors), count), np.nan, np.float32)
    with Progress("listings compared", len(vectors)) as progress:
        for market in np.unique(kinds.market):
            members = np.flatnonzero(kinds.market == market)
            texts = np.ascontiguousarray(vectors[members])
            path, family = kinds.path[members], kinds.family[members]
            for queried, others in _compared(texts):
                compared = _Compared(texts[others], path[others], family[others])
                for block in _blocks(queried, len(compared.family)):
                    scores = compared.scores(
                        texts[block], path[block], family[block], same_path_bonus
                    )
                    columns, best = _top_of_families(scores, compared.family, count, min_similarity)
                    width = columns.shape[1]
                    rows[members[block], :width] = np.where(
                        np.isnan(best), NO_NEIGHBOR, members[others][columns]
                    )
                    similarity[members[block], :width] = best
                    progress.advance(len(block))
    return ComparableListings(rows, similarity)


class _Compared(NamedTuple):
    """Listings to compare others with.

    Attributes:
        texts: float32, (listings, dimension).
        path: int32, (listings,).
        family: int32, (listings,).
    """

    texts: NDArray[np.float32]
    path: NDArray[np.int32]
    family: NDArray[np.int32]

    def scores(
        self,
        texts: NDArray[np.float32],
        path: NDArray[np.int32],
        family: NDArray[np.int32],
        same_path_bonus: float,
    ) -> NDArray[np.float32]:
        """Return the similarities of other listings: float32, (others, listings); -inf in their family.

        To compare all pairs of paths and of families would take as long as the matrix product.
        """
        scores = texts @ self.texts.T
        bonus = {
            one: np.float32(same_path_bonus) * (self.path == one)
            for one in np.unique(path).tolist()
        }
        by_family = np.argsort(self.family, kind="stable")
        first, end = (
            np.searchsorted(self.family, family, side, by_family) for side in ("left", "right")
        )
        for row, (own, start, stop) in enumerate(zip(path.tolist(), first, end, strict=True)):
            scores[row] += bonus[own]
            scores[row, by_family[start:stop]] = -np.inf
        return scores


def _compared(texts: NDArray[np.float32]) -> Iterable[tuple[Any, Any]]:
    """Return groups of listings, and the listings to compare each group with, both in order.

    Args:
        texts: float32, (listings, dimension), of one market.
    """
    if len(texts) <= MAX_COMPARED:
        return [(np.arange(len(texts)), slice(None))]
    return _neighborhoods(texts)


def _blocks(listings: NDArray[np.int64], compared: int) -> Iterator[NDArray[np.int64]]:
    """Yield blocks of listings, each compared with this many."""
    size = max(1, SIMILARITY_BATCH_SIZE // compared)
    for start in range(0, len(listings), size):
        yield listings[start : start + size]


def _neighborhoods(
    texts: NDArray[np.float32],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the listings of each cluster, and those of the nearest clusters, including itself."""
    import faiss

    clusters = len(texts) // CLUSTER_SIZE
    kmeans = faiss.Kmeans(
        texts.shape[1],
        clusters,
        niter=10,
        seed=0,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=32,
    )
    kmeans.train(texts)
    cluster = kmeans.index.search(texts, 1)[1][:, 0]
    by_cluster = np.argsort(cluster, kind="stable")
    ends = np.cumsum(np.bincount(cluster, minlength=clusters))
    members = np.split(by_cluster, ends[:-1])
    centroids = np.asarray(kmeans.centroids, np.float32)
    nearest = np.argsort(-(centroids @ centroids.T), axis=1, kind="stable")
    for own, order in enumerate(nearest):
        if len(members[own]):
            enough = np.searchsorted(np.cumsum(np.diff(ends, prepend=0)[order]), MAX_COMPARED) + 1
            yield members[own], np.sort(np.concatenate([members[one] for one in order[:enough]]))


def _top_of_families(
    scores: NDArray[np.float32], family: NDArray[np.int32], count: int, min_similarity: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return columns and scores of the best, one per family; scores are padded with NaN."""
    num_candidates = min(scores.shape[1], MAX_CANDIDATES * count)
    thresholds = np.partition(scores, -num_candidates, axis=1)[:, -num_candidates]
    rows, candidates = np.nonzero(scores >= thresholds[:, np.newaxis])
    # A stable sort breaks ties by column.
    order = np.lexsort((-scores[rows, candidates], rows))
    starts = np.searchsorted(rows, np.arange(len(scores)))
    columns = candidates[order[starts[:, np.newaxis] + np.arange(num_candidates)]]
    ranked = np.take_along_axis(scores, columns, axis=1)
    valid = _first_of_family(family[columns]) & (ranked >= min_similarity)
    first = np.argsort(~valid, axis=1, kind="stable")[:, :count]
    return (
        np.take_along_axis(columns, first, axis=1),
        np.where(
            np.take_along_axis(valid, first, axis=1),
            np.take_along_axis(ranked, first, axis=1),
            np.nan,
        ).astype(np.float32),
    )


def _first_of_family(family: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which entries are the first of their family in their row: bool, same shape as ``family``."""
    order = np.argsort(family, axis=1, kind="stable")
    ordered = np.take_along_axis(family, order, axis=1)
    new = np.ones(family.shape, np.bool_)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.empty_like(new)
    np.put_along_axis(first, order, new, axis=1)
    return first
