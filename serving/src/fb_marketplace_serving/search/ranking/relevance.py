"""Probability that a listing is relevant to a query, for every listing of the market.

The ranker's scores order the candidates of one query; they do not tell whether even the best one is
relevant. This model is calibrated: of the listings at 0.8, about four in five are relevant. Its features
are the query's words in the title and the text, and the votes of the best candidates for the listing's
category. They are defined for every listing, so the listings above a threshold are counted exactly.
"""

import json
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.search.candidates import CandidateSet, QueryVectors, SearchIndexes
from fb_marketplace_serving.search.listings.listing_store import Positions
from fb_marketplace_serving.search.ranking.ranker import RankerError, load_booster
from fb_marketplace_serving.search.ranking.ranking_features import FEEDBACK_DOCS, photo_categories

RELEVANCE_FEATURES: Final = (
    "title_share",
    "text_share",
    "unknown_share",
    "query_terms",
    "voted_path",
    "voted_category",
    "best_path_vote",
    "best_category_vote",
    "photo_category",
    "photo_similarity",
    "photo_similarity_gap",
    "best_photo_similarity",
)
"""In order: shares of the query's terms, weighted by their rarity, in the title, in the text, and unknown
to the market; number of terms; shares of the votes for the listing's path and root category, and the
largest of each; the photo's probability of the root category; the photo's similarity if the photo source
found the listing, its distance from the best one, and the best one. NaN if the query lacks words or a
photo."""

INCREASING: Final = frozenset(
    {
        "title_share",
        "text_share",
        "voted_path",
        "voted_category",
        "photo_category",
        "photo_similarity",
        "photo_similarity_gap",
    }
)
"""Features that can only raise the probability."""


class RelevanceError(ValueError):
    """Bytes that are not a relevance model."""


class RelevanceFeatures:
    """The features of all listings for one query. Votes and terms are counted once."""

    def __init__(
        self,
        indexes: SearchIndexes,
        query: QueryVectors,
        candidates: CandidateSet,
        labels: tuple[str, ...],
    ) -> None:
        """Count the votes and match the terms.

        Args:
            indexes: the indexes.
            query: the query.
            candidates: its candidates. The first by fused rank vote for their category, except for their
                own listing.
            labels: classes of ``query.photo_categories``.
        """
        self._listings = indexes.listings
        best = np.lexsort((candidates.positions, -candidates.fused))[:FEEDBACK_DOCS]
        self._voters, self._weights = candidates.positions[best], candidates.fused[best]
        self._total = float(self._weights.sum())
        self._path_votes = self._votes(self._listings.path, len(self._listings.paths))
        self._root_votes = self._votes(self._listings.root, len(self._listings.categories))
        self._matches = indexes.bm25.match(query.words) if query.words else None
        self._photo_category = photo_categories(query, self._listings, labels)
        nothing = np.zeros(len(candidates))
        photos = candidates.similarity.get("image", nothing)
        is_listed = candidates.rank.get("image", nothing) > 0
        self._photo_positions = candidates.positions[is_listed]
        self._photo_similarity = photos[is_listed].astype(np.float64)

    @property
    def nearest_path(self) -> tuple[str, float] | None:
        """The category path with the most votes, and its share of them; None without candidates."""
        if not self._total:
            return None
        path = int(np.argmax(self._path_votes))
        return self._listings.paths[path], float(self._path_votes[path]) / self._total

    def of(self, positions: Positions) -> NDArray[np.float64]:
        """Return the features of listings: float64, (positions, features)."""
        own, similarity = np.zeros(len(self._listings)), np.full(len(self._listings), np.nan)
        own[self._voters] = self._weights
        similarity[self._photo_positions] = self._photo_similarity
        return self._rows(
            self._listings.path[positions],
            self._listings.root[positions],
            (self._matches.title[positions], self._matches.text[positions])
            if self._matches
            else None,
            own[positions],
            similarity[positions],
        )

    def of_all(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the features of all listings, equal ones once.

        Returns:
            float64, (rows, features); and int64, (listings,), the row of each listing.
        """
        listings = self._listings
        # Without terms in common, a listing's features are those of its path.
        first = listings.first_of_path
        row = listings.path.astype(np.int64)
        none = np.zeros(len(first))
        matches = None if self._matches is None else (none, none)
        parts = [self._rows(listings.path[first], listings.root[first], matches)]
        if self._matches is not None and len(documents := self._matches.documents):
            title, text = self._matches.title[documents], self._matches.text[documents]
            titles, title_code = np.unique(title, return_inverse=True)
            texts, text_code = np.unique(text, return_inverse=True)
            code = (row[documents] * len(titles) + title_code) * len(texts) + text_code
            _, example, group = np.unique(code, return_index=True, return_inverse=True)
            row[documents] = len(first) + group
            chosen = documents[example]
            parts.append(
                self._rows(
                    listings.path[chosen], listings.root[chosen], (title[example], text[example])
                )
            )
        special = np.union1d(self._voters, self._photo_positions).astype(np.int64)
        row[special] = sum(map(len, parts)) + np.arange(len(special))
        return np.concatenate([*parts, self.of(special)]), row

    def _rows(
        self,
        path: NDArray[np.int32],
        root: NDArray[np.int32],
        matches: tuple[NDArray[np.floating], NDArray[np.floating]] | None,
        own: NDArray[np.float64] | None = None,
        similarity: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Build rows of features.

        Args:
            path: category paths.
            root: their root categories.
            matches: shares of the terms in the title and the text; None without words.
            own: weight of the listing's own vote, which does not count.
            similarity: similarity by the photo source.
        """
        own = np.zeros(len(path)) if own is None else own
        remaining, total = np.maximum(self._total - own, 1e-12), max(self._total, 1e-12)
        columns: dict[str, Any] = {
            "voted_path": (self._path_votes[path] - own) / remaining,
            "voted_category": (self._root_votes[root] - own) / remaining,
            "best_path_vote": self._path_votes.max(initial=0) / total,
            "best_category_vote": self._root_votes.max(initial=0) / total,
        }
        if matches is not None and self._matches is not None:
            columns["title_share"], columns["text_share"] = matches
            columns["unknown_share"] = self._matches.unknown
            columns["query_terms"] = self._matches.terms
        if self._photo_category is not None:
            columns["photo_category"] = self._photo_category[root]
        if len(self._photo_similarity):
            best = float(self._photo_similarity.max())
            columns["best_photo_similarity"] = best
            if similarity is not None:
                columns["photo_similarity"] = similarity
                columns["photo_similarity_gap"] = similarity - best
        rows = np.full((len(path), len(RELEVANCE_FEATURES)), np.nan)
        for column, name in enumerate(RELEVANCE_FEATURES):
            if name in columns:
                rows[:, column] = columns[name]
        return rows

    def _votes(self, codes: NDArray[np.int32], count: int) -> NDArray[np.float64]:
        votes = np.bincount(codes[self._voters], weights=self._weights, minlength=count)
        return votes.astype(np.float64)


class RelevanceModel(NamedTuple):
    """A loaded model. Thread-safe.

    Attributes:
        booster: a ``lightgbm.Booster`` on ``RELEVANCE_FEATURES``.
        threshold: the smallest probability at which the listings that reach it have the required precision,
            measured on searches by words of the validation split.
    """

    booster: Any
    threshold: float

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Load a model that :func:`relevance_bytes` wrote.

        Raises:
            RelevanceError: it is not a relevance model, or has other features.
        """
        try:
            content = json.loads(data)
            threshold, trees = float(content["threshold"]), str(content["trees"])
        except (ValueError, KeyError, TypeError) as error:
            raise RelevanceError(
                f"found {len(data):,} bytes without a threshold and trees ({error}); expected both, as JSON"
            ) from error
        if not 0 <= threshold <= 1:
            raise RelevanceError(f"found a threshold of {threshold}; expected 0 to 1")
        try:
            return cls(load_booster(trees.encode(), RELEVANCE_FEATURES), threshold)
        except RankerError as error:
            raise RelevanceError(str(error)) from error

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the probabilities of rows of features: float64, (rows,)."""
        if not len(features):
            return np.empty(0)
        probabilities: NDArray[np.float64] = self.booster.predict(features, num_threads=1)
        return probabilities

    def of_all(self, features: RelevanceFeatures) -> NDArray[np.float64]:
        """Compute the probability of every listing: float64, (listings,)."""
        rows, row = features.of_all()
        return self.probabilities(rows)[row]


def relevance_bytes(trees: str, threshold: float) -> bytes:
    """Return a model as JSON: trees in LightGBM's text format, and the default threshold."""
    return json.dumps({"threshold": threshold, "trees": trees}).encode()
