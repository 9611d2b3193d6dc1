"""Search engine: collects, ranks, deduplicates and diversifies candidates."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.search.candidates import (
    DEFAULT_TOP_K,
    CandidateSet,
    QueryVectors,
    SearchIndexes,
    collect_candidates,
)
from fb_marketplace_serving.search.filters import SearchFilters
from fb_marketplace_serving.search.listing_store import Facets, Positions
from fb_marketplace_serving.search.ranker import Contributions, Ranker
from fb_marketplace_serving.search.ranking_features import FEATURES, compute_features

Sort = Literal["relevance", "price_asc", "price_desc", "distance"]

NO_FILTERS: Final = SearchFilters()

FUSED: Final = FEATURES.index("fused")
"""Column of the fused rank, the score without a ranker."""

DIVERSITY_DEPTH: Final = 50
"""Number of top hits that are reordered for diversity. Later hits keep their order."""

StageTimer = Callable[[Literal["retrieve", "rank"]], AbstractContextManager[None]]


class Hit(NamedTuple):
    """A listing in the results.

    Attributes:
        position: position of the listing.
        candidate: index in the candidate set; -1 without a query.
        score: score of the ranker; 0 without a query.
        row: row of the photo to display; -1 if there is none.
        duplicates: positions of the other listings of its family, best first.
    """

    position: int
    candidate: int
    score: float
    row: int
    duplicates: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SearchResults:
    """The results of a search, in order.

    Attributes:
        hits: one hit per family, that is, per group of listings of the same item.
        total_listings: number of listings, including the duplicates of hits.
        facets: counts of these listings by category and price.
        features: float64, (candidates, features), input of the ranker; None without a query.
        candidates: the candidates; None without a query.
    """

    hits: list[Hit]
    total_listings: int
    facets: Facets
    features: NDArray[np.float64] | None = None
    candidates: CandidateSet | None = None


class SearchEngine:
    """Search over one release. Thread-safe."""

    def __init__(
        self, indexes: SearchIndexes, ranker: Ranker | None, labels: tuple[str, ...]
    ) -> None:
        """Create an engine.

        Args:
            indexes: the indexes.
            ranker: orders candidates; None to order them by fused rank.
            labels: classes of the image classifier.
        """
        self.indexes = indexes
        self.listings = indexes.listings
        self._ranker = ranker
        self._labels = labels

    def search(
        self,
        query: QueryVectors | None,
        filters: SearchFilters = NO_FILTERS,
        sort: Sort = "relevance",
        diversity: float = 0.0,
        top_k: int = DEFAULT_TOP_K,
        timer: StageTimer = lambda _: nullcontext(),
    ) -> SearchResults:
        """Search listings.

        Without a query, all listings that pass the filters are returned. With a query, filters
        apply before each source selects its best listings, so a filter never hides a match.

        Args:
            query: the query; None for all listings.
            filters: conditions on listings.
            sort: by the ranker's score, price or distance. Ties are sorted by score, then by position, so
                that pages are stable.
            diversity: 0 keeps the ranker's order; 1 maximally penalizes similarity to higher hits
                (maximal marginal relevance; Carbonell & Goldstein, 1998). Only with ``relevance``.
            top_k: listings per source.
            timer: returns a context manager that times a stage.

        Raises:
            UnknownCategoryError: a category of the filters does not exist.
            ValueError: the sort is by distance, but the filters have no location.
        """
        if sort == "distance" and filters.location is None:
            raise ValueError("sorting by distance requires a location in the filters")
        with timer("retrieve"):
            mask = self.listings.mask(filters)
            if query is None:
                positions = np.arange(len(self.listings)) if mask is None else np.flatnonzero(mask)
                return self._browse(positions.astype(np.int64), filters, sort)
            candidates = collect_candidates(self.indexes, query, mask, top_k=top_k)
        with timer("rank"):
            features = compute_features(
                candidates, query, self.listings, self._labels, filters.location
            )
            scores = self._ranker.scores(features) if self._ranker else candidates.fused
            order = self._sort(candidates.positions, scores, filters, sort)
            numbers = np.arange(len(candidates))
            hits = self._fold(candidates.positions, order, scores, candidates.row, numbers)
            if diversity and sort == "relevance":
                hits = self._diversify(hits, diversity)
        facets = self.listings.facets(candidates.positions, filters.categories)
        return SearchResults(hits, len(candidates), facets, features, candidates)

    def contributions(self, features: NDArray[np.float64]) -> Contributions:
        """Return the contribution of each feature to the scores; see :meth:`Ranker.contributions`."""
        if self._ranker:
            return self._ranker.contributions(features)
        parts = np.zeros_like(features)
        parts[:, FUSED] = features[:, FUSED]
        return Contributions(0.0, parts)

    def _browse(self, positions: Positions, filters: SearchFilters, sort: Sort) -> SearchResults:
        zeros = np.zeros(len(positions))
        order = self._sort(positions, zeros, filters, sort)
        hits = self._fold(positions, order, zeros, self.listings.first_rows(positions))
        facets = self.listings.facets(positions, filters.categories)
        return SearchResults(hits, len(positions), facets)

    def _sort(
        self, positions: Positions, scores: NDArray[np.float64], filters: SearchFilters, sort: Sort
    ) -> Positions:
        """Return the indices that sort the positions. Listings without a price or distance come last."""
        if sort == "relevance":
            return np.lexsort((positions, -scores))
        if sort == "distance" and filters.location is not None:
            keys = self.listings.distances(filters.location, positions)
        else:
            keys = self.listings.price[positions]
            keys = -keys if sort == "price_desc" else keys
        return np.lexsort((positions, -scores, keys))  # NaN sorts last.

    def _fold(
        self,
        positions: Positions,
        order: Positions,
        scores: NDArray[np.float64],
        rows: Positions,
        candidates: Positions | None = None,
    ) -> list[Hit]:
        """Return one hit per family: its first listing in the order, with the others as duplicates."""
        if candidates is None:
            candidates = np.full(len(positions), -1)
        hits: dict[int, Hit] = {}
        duplicates: dict[int, list[int]] = {}
        columns = (column[order].tolist() for column in (positions, candidates, scores, rows))
        families = self.listings.features.family[positions[order]].tolist()
        # Without a query, this may loop over all listings.
        for family, position, candidate, score, row in zip(families, *columns, strict=True):
            if family in hits:
                duplicates.setdefault(family, []).append(position)
            else:
                hits[family] = Hit(position, candidate, score, row, ())
        for family, others in duplicates.items():
            hits[family] = hits[family]._replace(duplicates=tuple(others))
        return list(hits.values())

    def _diversify(self, hits: list[Hit], diversity: float) -> list[Hit]:
        """Reorder the first hits by maximal marginal relevance: score minus similarity to higher hits."""
        first = hits[:DIVERSITY_DEPTH]
        if not first:
            return hits
        vectors = self.indexes.text.vectors(np.array([hit.position for hit in first], np.int64))
        similarity = vectors @ vectors.T
        scores = np.array([hit.score for hit in first])
        relevance = (scores - scores.min()) / max(float(scores.max() - scores.min()), 1e-12)
        nearest = np.zeros(len(first))
        remaining = np.ones(len(first), np.bool_)
        order = []
        for _ in range(len(first)):
            value = np.where(remaining, (1 - diversity) * relevance - diversity * nearest, -np.inf)
            best = int(np.argmax(value))
            order.append(best)
            remaining[best] = False
            nearest = np.maximum(nearest, similarity[best])
        return [first[index] for index in order] + hits[DIVERSITY_DEPTH:]
