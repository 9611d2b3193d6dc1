"""Search engine: collects, ranks, deduplicates and diversifies candidates."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.ann.knn import limit_faiss_threads
from fb_marketplace_serving.search.candidates import (
    DEFAULT_TOP_K,
    CandidateSet,
    QueryVectors,
    SearchIndexes,
    collect_candidates,
)
from fb_marketplace_serving.search.listings.filters import NO_FILTERS, SearchFilters
from fb_marketplace_serving.search.listings.listing_store import (
    STORED_SORTS,
    Mask,
    Positions,
    SortKey,
)
from fb_marketplace_serving.search.ranking.ranker import Contributions, Ranker
from fb_marketplace_serving.search.ranking.ranking_features import FEATURES, compute_features
from fb_marketplace_serving.search.ranking.relevance import (
    Relevance,
    RelevanceFeatures,
    RelevanceModel,
)
from fb_marketplace_serving.search.results import Hits, ResultColumns, SearchResults

Sort = Literal["relevance"] | SortKey

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
        self._browsed: dict[Sort, SearchResults] = {}
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
                None: the model's threshold if the query has words, else 0. It is 0, too, if the query has
                words and a photo, and no listing reaches the threshold.
            timer: returns a context manager that times a stage.

        Raises:
            UnknownCategoryError: a category of the filters does not exist.
            ValueError: the sort is by distance, but the filters have no location.
        """
        if sort == "distance" and filters.location is None:
            raise ValueError("sorting by distance requires a location in the filters")
        with limit_faiss_threads(), timer("retrieve"):
            mask = self.listings.mask(filters)
            if query is None:
                return self._browse(mask, filters, sort)
            candidates = collect_candidates(self.indexes, query, mask, top_k=top_k)
        with timer("rank"):
            features = compute_features(
                candidates, query, self.listings, self._labels, filters.location
            )
            relevance, relevance_features = None, None
            if self._relevance:
                relevance_features = RelevanceFeatures(
                    self.indexes, query, candidates, self._labels
                )
                relevance = Relevance(self._relevance, relevance_features)
            is_default = min_relevance is None
            if min_relevance is None:
                min_relevance = (
                    self._relevance.threshold if self._relevance and query.words else 0.0
                )
            chosen, others = np.arange(len(candidates)), np.empty(0, np.int64)
            if relevance is not None and min_relevance > 0:
                chosen, others = relevance.at_least(min_relevance, mask)
                if is_default and query.photo is not None and not len(chosen) + len(others):
                    # Return similar listings, as for the photo alone.
                    min_relevance, chosen = 0.0, np.arange(len(candidates))
            listed = self._rank(candidates, features, chosen, others)
            hits = self._fold(listed, filters, sort)
            if diversity and sort == "relevance":
                hits = self._diversify(hits, diversity)
        nearest = None if hits or relevance_features is None else relevance_features.nearest_path
        is_near = nearest is not None and nearest[1] >= MIN_NEAREST_SHARE
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

    def _rank(
        self,
        candidates: CandidateSet,
        features: NDArray[np.float64],
        chosen: Positions,
        others: Positions,
    ) -> ResultColumns:
        """Return some candidates by score, then other listings, which have none.

        Args:
            candidates: the candidates.
            features: float64, (candidates, features).
            chosen: int64, (chosen,), the candidates to return.
            others: int64, (others,), positions of listings that are not candidates, best first.
        """
        scores = self._ranker.scores(features[chosen]) if self._ranker else candidates.fused[chosen]
        order = np.argsort(-scores, kind="stable")  # ties by position
        chosen = chosen[order]
        return ResultColumns(
            np.concatenate([candidates.positions[chosen], others]),
            np.concatenate([chosen, np.full(len(others), -1)]),
            np.concatenate([scores[order], np.full(len(others), np.nan)]),
            np.concatenate([candidates.row[chosen], self.listings.first_row[others]]),
        )

    def contributions(self, features: NDArray[np.float64]) -> Contributions:
        """Return the contribution of each feature to the scores; see :meth:`Ranker.contributions`."""
        if self._ranker:
            return self._ranker.contributions(features)
        parts = np.zeros_like(features)
        parts[:, FUSED] = features[:, FUSED]
        return Contributions(0.0, parts)

    def prepare_browsing(self) -> None:
        """Sort and fold all listings in each order that does not depend on the buyer."""
        for sort in ("relevance", *STORED_SORTS):
            self._browsed[sort] = self._browse(None, NO_FILTERS, sort)

    def _browse(self, mask: Mask | None, filters: SearchFilters, sort: Sort) -> SearchResults:
        """Return the listings of a mask, or all, without a query."""
        if mask is None and sort in self._browsed:
            return self._browsed[sort]
        # Sorted by position, which is fastest to count.
        passing = np.arange(len(self.listings)) if mask is None else np.flatnonzero(mask)
        if sort == "distance":
            keys = self.listings.sort_keys(sort, passing, filters.location)
            positions = passing[np.argsort(keys, kind="stable")]
        else:
            positions = self.listings.order(sort)
            positions = positions if mask is None else positions[mask[positions]]
        listed = ResultColumns(
            positions,
            np.broadcast_to(-1, len(positions)),
            np.broadcast_to(0.0, len(positions)),
            self.listings.first_row[positions],
        )
        family = self.listings.shared_family[positions]
        hits = Hits.fold(listed, family, self.listings.families)
        complete = self._browsed.get("relevance") if mask is None else None
        facets = complete.facets if complete else self.listings.facets(passing, filters.categories)
        return SearchResults(hits, len(positions), facets)

    def _fold(self, listed: ResultColumns, filters: SearchFilters, sort: Sort) -> Hits:
        """Return the hits of listings, which are best first, in another order.

        Those without a date, a real price or a distance come last. Ties stay in their order.
        """
        if sort != "relevance":
            keys = self.listings.sort_keys(sort, listed.positions, filters.location)
            listed = listed.take(np.argsort(keys, kind="stable"))
        family = self.listings.shared_family[listed.positions]
        return Hits.fold(listed, family, self.listings.families)

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
