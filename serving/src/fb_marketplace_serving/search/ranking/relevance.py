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
from fb_marketplace_serving.search.listings.listing_store import Mask, Positions, ranks
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

MAX_TABLE: Final = 2**20
"""Maximum size of a table of all possible codes."""


class RelevanceError(ValueError):
    """Bytes that are not a relevance model."""


class RelevanceFeatures:
    """The features of all listings for one query. Votes and terms are counted once.

    Attributes:
        listings: the listings.
        candidates: int64, (candidates,), positions of the candidates, sorted.
    """

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
        self.candidates = candidates.positions
        self.listings = indexes.listings
        best = np.lexsort((candidates.positions, -candidates.fused))[:FEEDBACK_DOCS]
        voters = np.sort(best)
        self._own = _SomeListings(candidates.positions[voters], candidates.fused[voters])
        votes = candidates.positions[best], candidates.fused[best]
        self._total = float(votes[1].sum())
        self._path_votes = _count(self.listings.path, len(self.listings.paths), *votes)
        self._root_votes = _count(self.listings.root, len(self.listings.categories), *votes)
        # Paths with equal votes form a class: those without votes that have a root category in common.
        self._class_of_path = self.listings.root[self.listings.first_of_path].astype(np.int64)
        voted, roots = np.flatnonzero(self._path_votes), len(self.listings.categories)
        self._class_of_path[voted] = roots + np.arange(len(voted))
        self._classes = roots + len(voted)
        self._matches = candidates.matches
        self._photo_category = photo_categories(query, self.listings, labels)
        nothing = np.zeros(len(candidates))
        photos = candidates.similarity.get("image", nothing)
        is_listed = candidates.rank.get("image", nothing) > 0
        self._photos = _SomeListings(
            candidates.positions[is_listed], photos[is_listed].astype(np.float64)
        )

    @property
    def nearest_path(self) -> tuple[str, float] | None:
        """The category path with the most votes, and its share of them; None without candidates."""
        if not self._total:
            return None
        path = int(np.argmax(self._path_votes))
        return self.listings.paths[path], float(self._path_votes[path]) / self._total

    @property
    def special_candidates(self) -> NDArray[np.int64]:
        """Indices of the candidates with a vote or a photo: all others have the features of their group."""
        special = np.union1d(self._own.positions, self._photos.positions)
        return np.searchsorted(self.candidates, special)

    @property
    def matches(self) -> Positions:
        """The listings that share terms with the query, sorted: int64, (matches,)."""
        return np.empty(0, np.int64) if self._matches is None else self._matches.documents

    def of(self, positions: Positions) -> NDArray[np.float64]:
        """Return the features of listings: float64, (positions, features)."""
        return self._rows(
            positions, self._own.look_up(positions, 0.0), self._photos.look_up(positions, np.nan)
        )

    def of_groups(self, positions: Positions) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the features of listings that are not candidates, equal ones once.

        Args:
            positions: int64, (positions,). Candidates get the features without their own vote and photo.

        Returns:
            float64, (groups, features); and int64, (positions,), the group of each listing.
        """
        code, count = self._class_of_path[self.listings.path[positions]], self._classes
        if self._matches is not None:
            code += count * self._matches.group[positions].astype(np.int64)
            count *= len(self._matches.text_of_group)
        example, group = _group_equal(code, count)
        return self._rows(positions[example]), group

    def without_terms(self) -> NDArray[np.float64]:
        """Return the features of all listings without any term of the query, equal ones once.

        Returns:
            float64, (groups, features).
        """
        example, _ = _group_equal(self._class_of_path, self._classes)
        return self._rows(self.listings.first_of_path[example], has_terms=False)

    def _rows(
        self,
        positions: Positions,
        own: NDArray[np.float64] | float = 0.0,
        similarity: NDArray[np.float64] | float = np.nan,
        has_terms: bool = True,
    ) -> NDArray[np.float64]:
        """Build rows of features.

        Args:
            positions: the listings.
            own: weight of the listing's own vote, which does not count.
            similarity: similarity by the photo source.
            has_terms: False for a listing like this one without any term of the query.
        """
        path, root = self.listings.path[positions], self.listings.root[positions]
        remaining, total = np.maximum(self._total - own, 1e-12), max(self._total, 1e-12)
        columns: dict[str, Any] = {
            "voted_path": (self._path_votes[path] - own) / remaining,
            "voted_category": (self._root_votes[root] - own) / remaining,
            "best_path_vote": self._path_votes.max(initial=0) / total,
            "best_category_vote": self._root_votes.max(initial=0) / total,
        }
        if self._matches is not None:
            group = self._matches.group[positions] if has_terms else np.zeros(len(positions), int)
            columns["title_share"] = self._matches.title_of_group[group]
            columns["text_share"] = self._matches.text_of_group[group]
            columns["unknown_share"] = self._matches.unknown
            columns["query_terms"] = self._matches.terms
        if self._photo_category is not None:
            columns["photo_category"] = self._photo_category[root]
        if len(self._photos.values):
            best = float(self._photos.values.max())
            columns["best_photo_similarity"] = best
            columns["photo_similarity"] = similarity
            columns["photo_similarity_gap"] = similarity - best
        rows = np.full((len(positions), len(RELEVANCE_FEATURES)), np.nan)
        for column, name in enumerate(RELEVANCE_FEATURES):
            if name in columns:
                rows[:, column] = columns[name]
        return rows


class _SomeListings(NamedTuple):
    """Values of some listings, sorted by position."""

    positions: Positions
    values: NDArray[np.float64]

    def look_up(self, positions: Positions, default: float) -> NDArray[np.float64]:
        """Return the values of listings: float64, (positions,)."""
        if not len(self.positions):
            return np.full(len(positions), default)
        places = np.minimum(np.searchsorted(self.positions, positions), len(self.positions) - 1)
        return np.where(self.positions[places] == positions, self.values[places], default)


def _count(
    codes: NDArray[np.int32], count: int, voters: Positions, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the votes for each code: float64, (count,)."""
    votes = np.bincount(codes[voters], weights=weights, minlength=count)
    return votes.astype(np.float64)


def _group_equal(
    codes: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group equal codes, which are smaller than a count.

    Returns:
        int64, (groups,), an index of each group; and int64, (codes,), the group of each code.
    """
    if count > MAX_TABLE:
        _, example, group = np.unique(codes, return_index=True, return_inverse=True)
        return example, group
    # A table is twenty times as fast as sorting.
    is_used = np.zeros(count, np.bool_)
    is_used[codes] = True
    used = np.flatnonzero(is_used)
    number = np.empty(count, np.int64)
    number[used] = np.arange(len(used))
    group = number[codes]
    example = np.empty(len(used), np.int64)
    example[group] = np.arange(len(codes))
    return example, group


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


class Relevance:
    """Probability of each listing of the market for one query. Only what is read is computed."""

    def __init__(self, model: RelevanceModel, features: RelevanceFeatures) -> None:
        self._model, self._features = model, features

    def of(self, positions: Positions) -> NDArray[np.float64]:
        """Return the probabilities of listings: float64, (positions,)."""
        return self._model.probabilities(self._features.of(positions))

    def at_least(self, minimum: float, mask: Mask | None) -> tuple[NDArray[np.int64], Positions]:
        """Find the listings that reach a probability.

        Args:
            minimum: the probability.
            mask: bool, (listings,), the listings to return; None for all.

        Returns:
            int64, (chosen,), indices of candidates, sorted; and int64, (others,), positions of listings
            that are not candidates, most relevant first, ties by position.
        """
        features, candidates = self._features, self._features.candidates
        positions = features.matches
        # Few queries are so clear that a listing is relevant without any of their terms.
        if self._model.probabilities(features.without_terms()).max(initial=0.0) >= minimum:
            positions = np.arange(len(features.listings))
        rows, group = features.of_groups(np.concatenate([candidates, positions]))
        special = features.special_candidates
        probabilities = self._model.probabilities(
            np.concatenate([rows, features.of(candidates[special])])
        )
        group[special] = len(rows) + np.arange(len(special))
        passes = (probabilities >= minimum)[group]
        chosen = np.flatnonzero(passes[: len(candidates)])
        passes = passes[len(candidates) :]
        if mask is not None:
            passes &= mask[positions]
        passing = np.flatnonzero(passes)
        others = positions[passing]
        places = np.searchsorted(others, candidates)
        places = places[np.append(others, -1)[places] == candidates]
        others = np.delete(others, places)
        group = np.delete(group[len(candidates) :][passing], places)
        return chosen, others[np.argsort(ranks(-probabilities)[group], kind="stable")]


def relevance_bytes(trees: str, threshold: float) -> bytes:
    """Return a model as JSON: trees in LightGBM's text format, and the default threshold."""
    return json.dumps({"threshold": threshold, "trees": trees}).encode()
