"""A query and a filter in, listings in their order out: gathered, ranked, folded, spread."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.search.candidates import (
    DEPTH,
    CandidateSet,
    QueryVectors,
    SearchIndexes,
    collect_candidates,
)
from fb_marketplace_serving.search.filters import SearchFilters
from fb_marketplace_serving.search.listing_store import Facets, Positions
from fb_marketplace_serving.search.ranker import Contributions, Ranker
from fb_marketplace_serving.search.ranking_features import compute_features

Sort = Literal["relevance", "price_asc", "price_desc", "distance"]

NO_FILTERS: Final = SearchFilters()

DIVERSITY_DEPTH: Final = 50
"""Hits that are spread out at most; what stands further down keeps its place."""

StageTimer = Callable[[Literal["retrieve", "rank"]], AbstractContextManager[None]]


class Hit(NamedTuple):
    """A listing that was found, and what was folded under it.

    Attributes:
        position: of the listing.
        place: among the pool's candidates; -1 where nothing was searched for.
        score: the ranker's; 0 where nothing was searched for.
        row: the photo to show; -1 where there is none.
        more: positions of listings that show the same thing, the best first.
    """

    position: int
    place: int
    score: float
    row: int
    more: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SearchResults:
    """All that a search found, in order.

    Attributes:
        found: one for each family of listings.
        listings: how many listings there are in these.
        facets: how they are spread by category and price.
        features: float64, (candidates, features); None where nothing was searched for.
        pool: the candidates; None where nothing was searched for.
    """

    found: list[Hit]
    listings: int
    facets: Facets
    features: NDArray[np.float64] | None = None
    pool: CandidateSet | None = None


class SearchEngine:
    """Searches one release. Safe to share between threads."""

    def __init__(self, searched: SearchIndexes, ranker: Ranker, labels: tuple[str, ...]) -> None:
        """Take where it searches, how it ranks, and the classes of photos."""
        self.searched = searched
        self.catalogue = searched.catalogue
        self._ranker = ranker
        self._labels = labels

    def search(
        self,
        query: QueryVectors | None,
        asked: SearchFilters = NO_FILTERS,
        sort: Sort = "relevance",
        diversity: float = 0.0,
        depth: int = DEPTH,
        timed: StageTimer = lambda _: nullcontext(),
    ) -> SearchResults:
        """Find listings, and put them in order.

        Without a query all that the filter keeps are found, by position. With one, those that a source
        finds among the first of what the filter keeps: none is lost to others that it does not keep.

        Args:
            query: what for.
            asked: what they have to be.
            sort: the order: by the ranker; by price, cheapest or dearest first; by distance. Of equals the
                better, then the lower position leads, so that pages do not shift.
            diversity: 0 keeps the ranker's order; 1 maximally penalizes similarity to higher hits (maximal
                marginal relevance; Carbonell & Goldstein, 1998).
            depth: listings that each source finds.
            timed: times a stage.

        Raises:
            UnknownCategoryError: there is no category that the filter names.
            ValueError: it should be sorted by distance, and the filter says of no place.
        """
        if sort == "distance" and asked.near is None:
            raise ValueError("found no place to sort by distance from; expected one")
        with timed("retrieve"):
            kept = self.catalogue.kept(asked)
            if query is None:
                every = np.arange(len(self.catalogue)) if kept is None else np.flatnonzero(kept)
                return self._browsed(every.astype(np.int64), asked, sort)
            pool = collect_candidates(self.searched, query, kept, depth=depth)
        with timed("rank"):
            features = compute_features(pool, query, self.catalogue, self._labels, asked.near)
            scores = self._ranker.scores(features)
            order = self._sorted(pool.positions, scores, asked, sort)
            places = np.arange(len(pool))
            found = self._folded(pool.positions, order, scores, pool.row, places)
            if diversity and sort == "relevance":
                found = self._diversified(found, diversity)
        facets = self.catalogue.facets(pool.positions, asked.categories)
        return SearchResults(found, len(pool), facets, features, pool)

    def contributions(self, features: NDArray[np.float64]) -> Contributions:
        """Say what scores are made of; see :meth:`Ranker.contributions`."""
        return self._ranker.contributions(features)

    def _browsed(self, positions: Positions, asked: SearchFilters, sort: Sort) -> SearchResults:
        zeros = np.zeros(len(positions))
        order = self._sorted(positions, zeros, asked, sort)
        found = self._folded(positions, order, zeros, self.catalogue.first_rows(positions))
        facets = self.catalogue.facets(positions, asked.categories)
        return SearchResults(found, len(positions), facets)

    def _sorted(
        self, positions: Positions, scores: NDArray[np.float64], asked: SearchFilters, sort: Sort
    ) -> Positions:
        """Give places among the positions, in order; those that have nothing to sort by are last."""
        if sort == "relevance":
            return np.lexsort((positions, -scores))
        if sort == "distance" and asked.near is not None:
            by = self.catalogue.distances(asked.near, positions)
        else:
            by = self.catalogue.price[positions]
            by = -by if sort == "price_desc" else by
        return np.lexsort((positions, -scores, by))  # Not-a-number sorts last.

    def _folded(
        self,
        positions: Positions,
        order: Positions,
        scores: NDArray[np.float64],
        rows: Positions,
        places: Positions | None = None,
    ) -> list[Hit]:
        """Give one listing for each family, the first of it, with the others under it."""
        if places is None:
            places = np.full(len(positions), -1)
        families: dict[int, Hit] = {}
        more: dict[int, list[int]] = {}
        ordered = (each[order].tolist() for each in (positions, places, scores, rows))
        family = self.catalogue.facts.family[positions[order]].tolist()
        # Without a query these are all listings, so that each costs as little as may be.
        for number, at, place, score, row in zip(family, *ordered, strict=True):
            if number in families:
                more.setdefault(number, []).append(at)
            else:
                families[number] = Hit(at, place, score, row, ())
        for number, others in more.items():
            families[number] = families[number]._replace(more=tuple(others))
        return list(families.values())

    def _diversified(self, found: list[Hit], diversity: float) -> list[Hit]:
        """Take the first hits anew: each time the one that is best, less how like it is to those above."""
        first = found[:DIVERSITY_DEPTH]
        if not first:
            return found
        vectors = self.searched.texts.vectors(np.array([hit.position for hit in first], np.int64))
        alike = vectors @ vectors.T
        told = np.array([hit.score for hit in first])
        worth = (told - told.min()) / max(float(told.max() - told.min()), 1e-12)
        nearest = np.zeros(len(first))
        left = np.ones(len(first), np.bool_)
        taken = []
        for _ in range(len(first)):
            value = np.where(left, (1 - diversity) * worth - diversity * nearest, -np.inf)
            best = int(np.argmax(value))
            taken.append(best)
            left[best] = False
            nearest = np.maximum(nearest, alike[best])
        return [first[place] for place in taken] + found[DIVERSITY_DEPTH:]
