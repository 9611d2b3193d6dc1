"""Search engine: collects, ranks, deduplicates and diversifies candidates."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.search.candidates import (
    DEFAULT_TOP_K,
    QueryVectors,
    SearchIndexes,
    collect_candidates,
)
from fb_marketplace_serving.search.listings.filters import SearchFilters
from fb_marketplace_serving.search.listings.listing_store import Mask, Positions
from fb_marketplace_serving.search.ranking.ranker import Contributions, Ranker
from fb_marketplace_serving.search.ranking.ranking_features import FEATURES, compute_features
from fb_marketplace_serving.search.ranking.relevance import RelevanceFeatures, RelevanceModel
from fb_marketplace_serving.search.results import Hits, ResultColumns, SearchResults

Sort = Literal["relevance", "newest", "price_asc", "price_desc", "distance"]

NO_FILTERS: Final = SearchFilters()

MIN_NEAREST_SHARE: Final = 0.3
"""Smallest share of the votes with which a category is offered if no listing is relevant."""

FUSED: Final = FEATURES.index("fused")
"""Column of the fused rank, the score without a ranker."""

DIVERSITY_DEPTH: Final = 50
"""Number of top hits that are reordered for diversity. Later hits keep their order."""

StageTimer = Callable[[Literal["retrieve", "rank"]], AbstractContextManager[None]]


class SearchEngine:
    """Search over one release. Thread-safe."""

    def __init__(
        self,
        indexes: SearchIndexes,
        ranker: Ranker | None,
        labels: tuple[str, ...],
        relevance: RelevanceModel | None = None,
    ) -> None:
        """Create an engine.

        Args:
            indexes: the indexes.
            ranker: orders candidates; None to order them by fused rank.
            labels: classes of the image classifier.
            relevance: predicts which listings are relevant; None to return all candidates.
        """
        self._relevance = relevance
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
        min_relevance: float | None = None,
        timer: StageTimer = lambda _: nullcontext(),
    ) -> SearchResults:
        """Search listings.

        Without a query, all listings that pass the filters are returned. With a query, filters
        apply before each source selects its best listings, so a filter never hides a match.

        Args:
            query: the query; None for all listings.
            filters: conditions on listings.
            sort: by the ranker's score, date, price or distance. Ties are sorted by score, then by
                position, so that pages are stable.
            diversity: 0 keeps the ranker's order; 1 maximally penalizes similarity to higher hits
                (maximal marginal relevance; Carbonell & Goldstein, 1998). Only with ``relevance``.
            top_k: listings per source.
            min_relevance: minimum probability of being relevant. All listings that reach it are results; it
                changes neither scores nor their order. 0: the candidates of all sources are the results.
                None: the model's threshold if the query has words, else 0.
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
            relevance, nearest = None, None
            if self._relevance:
                relevance_features = RelevanceFeatures(
                    self.indexes, query, candidates, self._labels
                )
                relevance = self._relevance.of_all(relevance_features)
                nearest = relevance_features.nearest_path
            if min_relevance is None:
                min_relevance = (
                    self._relevance.threshold if self._relevance and query.words else 0.0
                )
            listed = ResultColumns(
                candidates.positions, np.arange(len(candidates)), scores, candidates.row
            )
            if relevance is not None and min_relevance > 0:
                listed = self._relevant(listed, relevance, min_relevance, mask)
            hits = self._fold(listed, self._sort(listed, filters, sort, relevance))
            if diversity and sort == "relevance":
                hits = self._diversify(hits, diversity)
        is_near = not hits and nearest is not None and nearest[1] >= MIN_NEAREST_SHARE
        return SearchResults(
            hits,
            len(listed.positions),
            self.listings.facets(listed.positions, filters.categories),
            features,
            candidates,
            relevance,
            min_relevance if relevance is not None else 0.0,
            nearest[0] if is_near and nearest else None,
        )

    def _relevant(
        self,
        listed: ResultColumns,
        relevance: NDArray[np.float64],
        min_relevance: float,
        mask: Mask | None,
    ) -> ResultColumns:
        """Return all listings with a minimum relevance, candidates or not."""
        passes = relevance >= min_relevance
        positions = np.flatnonzero(passes if mask is None else passes & mask).astype(np.int64)
        candidates = np.full(len(positions), -1)
        scores, rows = np.full(len(positions), np.nan), self.listings.first_rows(positions)
        _, mine, theirs = np.intersect1d(
            positions, listed.positions, assume_unique=True, return_indices=True
        )
        candidates[mine], scores[mine] = listed.candidates[theirs], listed.scores[theirs]
        rows[mine] = listed.rows[theirs]
        return ResultColumns(positions, candidates, scores, rows)

    def contributions(self, features: NDArray[np.float64]) -> Contributions:
        """Return the contribution of each feature to the scores; see :meth:`Ranker.contributions`."""
        if self._ranker:
            return self._ranker.contributions(features)
        parts = np.zeros_like(features)
        parts[:, FUSED] = features[:, FUSED]
        return Contributions(0.0, parts)

    def _browse(self, positions: Positions, filters: SearchFilters, sort: Sort) -> SearchResults:
        listed = ResultColumns(
            positions,
            np.full(len(positions), -1),
            np.zeros(len(positions)),
            self.listings.first_rows(positions),
        )
        hits = self._fold(listed, self._sort(listed, filters, sort))
        facets = self.listings.facets(positions, filters.categories)
        return SearchResults(hits, len(positions), facets)

    def _sort(
        self,
        listed: ResultColumns,
        filters: SearchFilters,
        sort: Sort,
        relevance: NDArray[np.float64] | None = None,
    ) -> Positions:
        """Return the indices that sort the listings.

        Those without a date, a real price or a distance come last in these orders. Listings that are not
        candidates have no score: they come after those that are, most relevant first.
        """
        positions = listed.positions
        ties: list[NDArray[Any]] = [positions]
        if relevance is not None:
            ties.append(np.where(np.isnan(listed.scores), -relevance[positions], 0.0))
        ties.append(-listed.scores)  # NaN sorts last.
        if sort == "relevance":
            return np.lexsort(ties)
        if sort == "distance" and filters.location is not None:
            keys = self.listings.distances(filters.location, positions)
        elif sort == "newest":
            keys = -self.listings.created_at[positions]
        else:
            keys = self.listings.meant_price[positions]
            keys = -keys if sort == "price_desc" else keys
        return np.lexsort((*ties, keys))

    def _fold(self, listed: ResultColumns, order: Positions) -> Hits:
        return Hits.fold(listed, order, self.listings.features.family[listed.positions])

    def _diversify(self, hits: Hits, diversity: float) -> Hits:
        """Reorder the first hits by maximal marginal relevance: score minus similarity to higher hits."""
        # Listings that are not candidates have no score, and are last.
        first = [hit for hit in hits[:DIVERSITY_DEPTH] if hit.candidate >= 0]
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
        return hits.reorder(np.array(order, np.int64))
