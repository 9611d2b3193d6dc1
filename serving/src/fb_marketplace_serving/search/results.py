"""Results of a search: listings in columns, and hits that fold the duplicates of a family."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, overload

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.search.candidates import CandidateSet
from fb_marketplace_serving.search.listings.listing_store import Facets, Positions
from fb_marketplace_serving.search.ranking.relevance import Relevance


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
    """Listings in the results: positions, candidate indices, scores and photo rows."""

    positions: Positions
    candidates: Positions
    scores: NDArray[np.float64]
    rows: Positions

    def take(self, indices: Positions) -> "ResultColumns":
        """Return the listings of some indices, in their order."""
        return ResultColumns(*(_take(column, indices) for column in self))


def _take(column: NDArray[Any], indices: Positions) -> NDArray[Any]:
    """Return the values of some indices. A broadcast value stays one: it takes no memory."""
    if column.strides == (0,) and len(column):
        return np.broadcast_to(column[0], len(indices))
    return column[indices]


@dataclass(frozen=True, slots=True, eq=False)
class Hits(Sequence[Hit]):
    """Hits in order. Each is built when it is read: without a query, there may be as many as listings."""

    _first: ResultColumns
    _duplicates: Positions
    _starts: Positions
    _ends: Positions

    @classmethod
    def fold(cls, listed: ResultColumns, families: NDArray[np.int32], count: int) -> Self:
        """Return one hit per family: its first listing, with the others as duplicates.

        Args:
            listed: the listings, in order.
            families: int32, (listings,), family of each; -1 for a family of one.
            count: number of families of the market, which are numbered from 0.
        """
        places = np.flatnonzero(families >= 0)
        shared = families[places]
        # Of several values for one index, NumPy stores the last: here, the first place of the family.
        first_of_family = np.empty(count, np.int64)
        first_of_family[shared[::-1]] = places[::-1]
        first = first_of_family[shared]
        is_other = first != places
        others = places[is_other]
        if not len(others):
            none = np.zeros(len(families), np.int64)
            return cls(listed, none[:0], none, none)
        is_hit = np.ones(len(families), np.bool_)
        is_hit[others] = False
        hits = np.flatnonzero(is_hit)
        hit = np.searchsorted(hits, first[is_other])
        counts = np.bincount(hit, minlength=len(hits))
        ends = np.cumsum(counts)
        return cls(
            listed.take(hits),
            listed.positions[others[np.argsort(hit, kind="stable")]],
            ends - counts,
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
        relevance: probability of each listing that it is relevant; None without a query or a model.
        min_relevance: minimum relevance of the hits; 0 if the candidates are the results.
        nearest_category: the most frequent category path of the candidates, if no listing is relevant.
    """

    hits: Hits
    total_listings: int
    facets: Facets
    features: NDArray[np.float64] | None = None
    candidates: CandidateSet | None = None
    relevance: Relevance | None = None
    min_relevance: float = 0.0
    nearest_category: str | None = None
