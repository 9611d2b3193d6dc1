"""Results of a search: listings in columns, and hits that fold the duplicates of a family."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self, overload

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.search.candidates import CandidateSet
from fb_marketplace_serving.search.listings.listing_store import Facets, Positions


class Hit(NamedTuple):
    """A listing in the results.

    Attributes:
        position: position of the listing.
        candidate: index in the candidate set; -1 without a query, or if the listing is not a candidate.
        score: score of the ranker; 0 without a query, NaN if the listing is not a candidate.
        row: row of the photo to display; -1 if there is none.
        duplicates: positions of the other listings of its family, best first.
    """

    position: int
    candidate: int
    score: float
    row: int
    duplicates: tuple[int, ...]


class ResultColumns(NamedTuple):
    """Listings in the results, in any order: positions, candidate indices, scores and photo rows."""

    positions: Positions
    candidates: Positions
    scores: NDArray[np.float64]
    rows: Positions

    def take(self, indices: Positions) -> "ResultColumns":
        """Return the listings of some indices, in their order."""
        return ResultColumns(
            self.positions[indices],
            self.candidates[indices],
            self.scores[indices],
            self.rows[indices],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Hits(Sequence[Hit]):
    """Hits in order. Each is built when it is read: without a query, there may be as many as listings."""

    _first: ResultColumns
    _duplicates: Positions
    _starts: Positions
    _ends: Positions

    @classmethod
    def fold(cls, listed: ResultColumns, order: Positions, families: NDArray[np.int32]) -> Self:
        """Return one hit per family: its first listing in the order, with the others as duplicates.

        Args:
            listed: the listings.
            order: int64, (listings,), the indices that sort them.
            families: int32, (listings,), family of each.
        """
        _, first, family = np.unique(families[order], return_index=True, return_inverse=True)
        hit_of_family = np.empty(len(first), np.int64)
        hit_of_family[np.argsort(first)] = np.arange(len(first))
        others = np.delete(np.arange(len(order)), first)
        hit = hit_of_family[family[others]]
        by_hit = others[np.argsort(hit, kind="stable")]
        ends = np.cumsum(np.bincount(hit, minlength=len(first)))
        leaders = order[np.sort(first)]
        return cls(
            listed.take(leaders),
            listed.positions[order[by_hit]],
            np.concatenate([[0], ends[:-1]]).astype(np.int64)[: len(first)],
            ends,
        )

    @property
    def positions(self) -> Positions:
        """Position of the listing of each hit: int64, (hits,)."""
        return self._first.positions

    def reorder(self, first: Positions) -> "Hits":
        """Return the hits with the first ones, as many as there are indices, in the order of these."""
        order = np.concatenate([first, np.arange(len(first), len(self))])
        return Hits(
            self._first.take(order),
            self._duplicates,
            self._starts[order],
            self._ends[order],
        )

    def __len__(self) -> int:
        return len(self.positions)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> list[Hit]: ...
    def __getitem__(self, index: int | slice) -> Hit | list[Hit]:
        if isinstance(index, int):
            place = range(len(self))[index]
            return self[place : place + 1][0]
        columns = (column[index].tolist() for column in (*self._first, self._starts, self._ends))
        return [
            Hit(position, candidate, score, row, tuple(self._duplicates[start:end].tolist()))
            for position, candidate, score, row, start, end in zip(*columns, strict=True)
        ]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self[:])


@dataclass(frozen=True, slots=True)
class SearchResults:
    """The results of a search, in order.

    Attributes:
        hits: one hit per family, that is, per group of listings of the same item.
        total_listings: number of listings, including the duplicates of hits.
        facets: counts of these listings by category and price.
        features: float64, (candidates, features), input of the ranker; None without a query.
        candidates: the candidates; None without a query.
        relevance: float64, (all listings,), probability that each is relevant; None without a query or a
            model.
        min_relevance: minimum relevance of the hits; 0 if the candidates are the results.
        nearest_category: the most frequent category path of the candidates, if no listing is relevant.
    """

    hits: Hits
    total_listings: int
    facets: Facets
    features: NDArray[np.float64] | None = None
    candidates: CandidateSet | None = None
    relevance: NDArray[np.float64] | None = None
    min_relevance: float = 0.0
    nearest_category: str | None = None
