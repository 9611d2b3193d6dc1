"""Probability that a listing is relevant to a query, for every listing of the market.

The ranker's scores order the candidates of one query; they do not tell whether even the best one is
relevant. This model is calibrated: of the listings at 0.8, about four in five are relevant. Its features
are the query's words in the title and the text, and the votes of the best candidates for the listing's
category. They are defined for every listing, so the listings above a threshold are counted exactly.
"""

import json
from functools import cached_property
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.search.candidates import (
    RRF_K,
    CandidateSet,
    QueryVectors,
    SearchIndexes,
)
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
    "photo_path",
    "photo_similarity",
    "photo_similarity_gap",
    "best_photo_similarity",
)
"""In order: shares of the query's terms, weighted by their rarity, in the title, in the text, and unknown
to the market; number of terms; shares of the votes for the listing's path and root category, and the
largest of each; the photo's probability of the root category; share of the votes of similar photos for the
path; the photo's similarity if the photo source found the listing, its distance from the best one, and the
best one. NaN if the query lacks words or a photo."""

INCREASING: Final = frozenset(
    {
        "title_share",
        "text_share",
        "voted_path",
        "voted_category",
        "photo_category",
        "photo_path",
        "photo_similarity",
        "photo_similarity_gap",
    }
)
"""Features that can only raise the probability."""

MONOTONE_CONSTRAINTS: Final = tuple(int(name in INCREASING) for name in RELEVANCE_FEATURES)
"""LightGBM's parameter for a model of these."""

OF_CATEGORY: Final = ("voted_path", "voted_category", "photo_category", "photo_path")
"""Features that depend on the listing's category only."""

ROUNDING: Final = 1e-6
"""Tolerance of comparisons between probabilities whose features differ, and of sums of shares."""

SHARE_STEPS: Final = 8
"""Steps of shares from 0 to 1 at which the best listings are computed."""

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
        self._own = _ListingValues(candidates.positions[voters], candidates.fused[voters])
        votes = candidates.positions[best], candidates.fused[best]
        self._total = float(votes[1].sum())
        self._path_votes = _count(self.listings.path, len(self.listings.paths), *votes)
        self._root_votes = _count(self.listings.root, len(self.listings.categories), *votes)
        image_ranks = candidates.rank.get("image", np.zeros(len(candidates), np.int32))
        similar = np.flatnonzero((image_ranks > 0) & (image_ranks <= FEEDBACK_DOCS))
        self._own_photo = _ListingValues(
            candidates.positions[similar], 1 / (RRF_K + image_ranks[similar])
        )
        self._photo_votes = _count(self.listings.path, len(self.listings.paths), *self._own_photo)
        # Paths with equal votes form a class: those without votes that have a root category in common.
        self._class_of_path = self.listings.root_of_path.copy()
        voted = np.flatnonzero(self._path_votes + self._photo_votes)
        roots = len(self.listings.categories)
        self._class_of_path[voted] = roots + np.arange(len(voted))
        self._path_of_class = np.full(roots + len(voted), -1, np.int64)
        self._path_of_class[self._class_of_path] = np.arange(len(self.listings.paths))
        self._matches = candidates.matches
        self._photo_category = photo_categories(query, self.listings, labels)
        nothing = np.zeros(len(candidates))
        photos = candidates.similarity.get("image", nothing)
        is_listed = candidates.rank.get("image", nothing) > 0
        self._photos = _ListingValues(
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

    @cached_property
    def matches(self) -> Positions:
        """The listings that share terms with the query, sorted: int64, (matches,)."""
        return np.empty(0, np.int64) if self._matches is None else self._matches.documents

    def matrix(self, positions: Positions) -> NDArray[np.float64]:
        """Return the features of listings: float64, (positions, features)."""
        return self._rows(
            self.listings.path[positions],
            0 if self._matches is None else self._matches.groups_of(positions),
            self._own.look_up(positions, 0.0),
            self._own_photo.look_up(positions, 0.0),
            self._photos.look_up(positions, np.nan),
        )

    def grouped_matrix(self, positions: Positions) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the features of listings that are not candidates, equal ones once.

        Args:
            positions: int64, (positions,). Candidates get the features without their own vote and photo.

        Returns:
            float64, (groups, features); and int64, (positions,), the group of each listing.
        """
        classes = len(self._path_of_class)
        code, count = self._class_of_path[self.listings.path[positions]], classes
        if self._matches is not None:
            # A long query has so many groups that 32 bits may not suffice.
            code += classes * self._matches.groups_of(positions).astype(np.int64)
            count *= len(self._matches.text_of_group)
        used, group = _number(code, count)
        terms, class_ = np.divmod(used, classes)
        return self._rows(self._path_of_class[class_], terms), group

    def without_terms(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the features of listings without any term of the query, equal ones once.

        Returns:
            float64, (groups, features); and int64, (paths,), the group of the listings of each path.
        """
        used, group = _number(self._class_of_path, len(self._path_of_class))
        return self._rows(self._path_of_class[used], 0), group

    def at_best(self) -> tuple[NDArray[np.float64], Mask]:
        """Return the best features of listings by their shares of the terms, whatever their category.

        The shares are rounded up to a grid of :data:`SHARE_STEPS` steps. A share in the title is at most
        the share in the text.

        Returns:
            float64, (points, features), and bool, (steps + 1, steps + 1), the grid points that the rows
            belong to: shares in the title and in the text.
        """
        steps = np.arange(SHARE_STEPS + 1)
        is_point = steps[:, np.newaxis] <= steps
        if not self.listings.paths:
            return np.empty((0, len(RELEVANCE_FEATURES))), np.zeros_like(is_point)
        title, text = np.nonzero(is_point)
        rows = self._rows(np.zeros(len(title), np.int64), 0)
        # Sums of rounded shares may exceed 1 a little.
        rows[:, RELEVANCE_FEATURES.index("title_share")] = title * (1 + ROUNDING) / SHARE_STEPS
        rows[:, RELEVANCE_FEATURES.index("text_share")] = text * (1 + ROUNDING) / SHARE_STEPS
        every_path = self._rows(self._path_of_class[self._path_of_class >= 0], 0)
        for column in (RELEVANCE_FEATURES.index(name) for name in OF_CATEGORY):
            rows[:, column] = every_path[:, column].max()
        return rows, is_point

    def with_shares(self, is_point: Mask) -> Positions:
        """Return the listings whose shares of the terms, rounded up, are in the mask: int64, sorted."""
        if self._matches is None:
            return np.empty(0, np.int64)
        title, text = (
            np.minimum(np.ceil(shares * SHARE_STEPS), SHARE_STEPS).astype(np.intp)
            for shares in (self._matches.title_of_group, self._matches.text_of_group)
        )
        return self._matches.documents[is_point[title, text][self._matches.group]]

    def _rows(
        self,
        path: NDArray[np.integer],
        terms: NDArray[np.integer] | int,
        own: NDArray[np.float64] | float = 0.0,
        own_photo: NDArray[np.float64] | float = 0.0,
        similarity: NDArray[np.float64] | float = np.nan,
    ) -> NDArray[np.float64]:
        """Build rows of features.

        Args:
            path: category paths of the listings.
            terms: groups of the listings by the terms that they have; 0 for none.
            own: weight of the listing's own vote, which does not count.
            own_photo: the same among similar photos.
            similarity: similarity by the photo source.
        """
        root = self.listings.root_of_path[path]
        remaining, total = np.maximum(self._total - own, 1e-12), max(self._total, 1e-12)
        columns: dict[str, Any] = {
            "voted_path": (self._path_votes[path] - own) / remaining,
            "voted_category": (self._root_votes[root] - own) / remaining,
            "best_path_vote": self._path_votes.max(initial=0) / total,
            "best_category_vote": self._root_votes.max(initial=0) / total,
        }
        if self._matches is not None:
            columns["title_share"] = self._matches.title_of_group[terms]
            columns["text_share"] = self._matches.text_of_group[terms]
            columns["unknown_share"] = self._matches.unknown
            columns["query_terms"] = self._matches.terms
        if self._photo_category is not None:
            columns["photo_category"] = self._photo_category[root]
        if len(self._photos.values):
            best = float(self._photos.values.max())
            columns["best_photo_similarity"] = best
            votes = np.maximum(self._own_photo.values.sum() - own_photo, 1e-12)
            columns["photo_path"] = (self._photo_votes[path] - own_photo) / votes
            columns["photo_similarity"] = similarity
            columns["photo_similarity_gap"] = similarity - best
        rows = np.full((len(path), len(RELEVANCE_FEATURES)), np.nan)
        for column, name in enumerate(RELEVANCE_FEATURES):
            if name in columns:
                rows[:, column] = columns[name]
        return rows


class _ListingValues(NamedTuple):
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


def _number(codes: NDArray[np.integer], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the distinct codes, which are smaller than a count.

    Returns:
        int64, (distinct,), the distinct codes, sorted; and int64, (codes,), the number of each code.
    """
    if count > MAX_TABLE:
        return np.unique(codes, return_inverse=True)
    # A table is twenty times as fast as sorting.
    is_used = np.zeros(count, np.bool_)
    is_used[codes] = True
    used = np.flatnonzero(is_used)
    number = np.empty(count, np.int64)
    number[used] = np.arange(len(used))
    return used, number[codes]


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
        constraints = f"monotone_constraints={' '.join(map(str, MONOTONE_CONSTRAINTS))}"
        if constraints not in trees.splitlines():
            raise RelevanceError(
                f"found a model without the line {constraints}; expected probabilities that only rise with "
                f"{', '.join(sorted(INCREASING))}. Rerun `kedro run --pipeline=ranking`."
            )
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
    """Probability that each listing is relevant to one query, computed when it is read."""

    def __init__(self, model: RelevanceModel, features: RelevanceFeatures) -> None:
        self._model, self._features = model, features

    def probabilities(self, positions: Positions) -> NDArray[np.float64]:
        """Return the probabilities of listings: float64, (positions,)."""
        return self._model.probabilities(self._features.matrix(positions))

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
        positions = self._possible(minimum)
        if mask is not None:
            positions = positions[mask[positions]]
        if len(candidates):
            places = np.minimum(np.searchsorted(candidates, positions), len(candidates) - 1)
            positions = positions[candidates[places] != positions]
        rows, group = features.grouped_matrix(np.concatenate([candidates, positions]))
        special = features.special_candidates
        probabilities = self._model.probabilities(
            np.concatenate([rows, features.matrix(candidates[special])])
        )
        group[special] = len(rows) + np.arange(len(special))
        passing = np.flatnonzero((probabilities >= minimum)[group])
        chosen = passing[: np.searchsorted(passing, len(candidates))]
        others = passing[len(chosen) :]
        order = np.argsort(ranks(-probabilities)[group[others]], kind="stable")
        return chosen, positions[others[order] - len(candidates)]

    def _possible(self, minimum: float) -> Positions:
        """Return all listings that reach a probability, and few others: int64, sorted."""
        features = self._features
        silent, silent_group = features.without_terms()
        best, is_point = features.at_best()
        probabilities = self._model.probabilities(np.concatenate([silent, best]))
        passes = probabilities >= minimum - ROUNDING
        is_point[is_point] = passes[len(silent) :]
        with_terms = features.with_shares(is_point)
        paths = np.flatnonzero(passes[: len(silent)][silent_group]).tolist()
        if not paths:
            return with_terms
        is_possible = np.zeros(len(features.listings), np.bool_)
        is_possible[with_terms] = True
        for path in paths:
            is_possible[features.listings.positions_of_path(path)] = True
        return np.flatnonzero(is_possible)


def relevance_bytes(trees: str, threshold: float) -> bytes:
    """Return a model as JSON: trees in LightGBM's text format, and the default threshold."""
    return json.dumps({"threshold": threshold, "trees": trees}).encode()
