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

from fb_marketplace_serving.search.candidates import (
    RRF_K,
    CandidateSet,
    QueryVectors,
    SearchIndexes,
)
from fb_marketplace_serving.search.listings.listing_store import Mask, Positions, ranks
from fb_marketplace_serving.search.ranking.ranker import RankerError, load_booster, predict
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

ROUNDING: Final = 1e-6
"""Tolerance of comparisons between probabilities whose features differ, and of sums of shares."""

SHARE_STEPS: Final = 8
"""Steps of shares from 0 to 1 at which the best listings are computed."""

MAX_TABLE: Final = 2**20
"""Maximum size of a table of all possible codes."""

MIN_RANKED: Final = 2000
"""Number of listings from which it is faster to sort the ranks of their probabilities."""

_COLUMN: Final = {name: column for column, name in enumerate(RELEVANCE_FEATURES)}

_IS_POINT: Final = np.triu(np.ones((SHARE_STEPS + 1, SHARE_STEPS + 1), np.bool_))
"""Pairs of a share in the title and one in the text, which is at least as large."""

# Sums of rounded shares may exceed 1 a little.
_POINTS: Final = np.array(np.nonzero(_IS_POINT)) * (1 + ROUNDING) / SHARE_STEPS
"""These shares: float64, (2, points)."""


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
        self.listings = listings = indexes.listings
        self._matches, self._terms = candidates.matches, candidates.terms
        self._photo_category = photo_categories(query, listings, labels)
        count, path = len(candidates), listings.path[candidates.positions]
        best = candidates.by_fused_rank[:FEEDBACK_DOCS]
        votes = candidates.fused[best]
        self._total = float(votes.sum())
        self._path_votes = _count(path[best], len(listings.paths), votes)
        root = listings.root_of_path[path[best]]
        self._root_votes = _count(root, len(listings.categories), votes)
        total = max(self._total, 1e-12)
        self._best_path_vote = float(self._path_votes.max(initial=0)) / total
        self._best_root_vote = float(self._root_votes.max(initial=0)) / total
        image_ranks = candidates.rank.get("image", np.zeros(count, np.int32))
        similar = np.flatnonzero((image_ranks > 0) & (image_ranks <= FEEDBACK_DOCS))
        photo_votes = 1 / (RRF_K + image_ranks[similar])
        self._photo_total = float(photo_votes.sum())
        self._photo_votes = _count(path[similar], len(listings.paths), photo_votes)
        is_special = image_ranks > 0
        self._best_photo: float | None = None
        # Of each candidate, and in the last row of all other listings.
        self._own = np.zeros((count + 1, 3))
        self._own[:, 2] = np.nan
        self._own[best, 0], self._own[similar, 1] = votes, photo_votes
        if is_special.any():
            self._own[:count, 2][is_special] = candidates.similarity["image"][is_special]
            self._best_photo = float(np.fmax.reduce(self._own[:, 2]))
        is_special[best] = True
        self._special = np.flatnonzero(is_special)
        # Paths with equal votes form a class: those without votes that have a root category in common.
        self._class_of_path = listings.root_of_path.copy()
        voted = np.flatnonzero(self._path_votes + self._photo_votes)
        roots = len(listings.categories)
        self._class_of_path[voted] = roots + np.arange(len(voted))
        self._path_of_class = np.full(roots + len(voted), -1, np.int64)
        self._path_of_class[self._class_of_path] = np.arange(len(listings.paths))

    @property
    def nearest_path(self) -> tuple[str, float] | None:
        """The category path with the most votes, and its share of them; None without candidates."""
        if not self._total:
            return None
        path = int(np.argmax(self._path_votes))
        return self.listings.paths[path], float(self._path_votes[path]) / self._total

    @property
    def has_words(self) -> bool:
        """Whether the query has words."""
        return self._matches is not None

    def matrix(self, positions: Positions) -> NDArray[np.float64]:
        """Return the features of listings: float64, (positions, features)."""
        own = np.full(len(positions), len(self.candidates))
        if len(self.candidates):
            places = np.searchsorted(self.candidates, positions)
            np.minimum(places, len(self.candidates) - 1, out=places)
            own = np.where(self.candidates[places] == positions, places, own)
        return self._rows(self.listings.path[positions], self.terms_of(positions), self._own[own])

    def terms_of(self, positions: Positions) -> NDArray[np.int32]:
        """Return the groups of listings by the terms that they have: int32, (positions,)."""
        if self._matches is None:
            return np.zeros(len(positions), np.int32)
        return self._matches.groups_of(positions)

    def grouped_matrix(
        self, positions: Positions, terms: NDArray[np.int32]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the features of the candidates and of other listings, equal ones once.

        Args:
            positions: int64, (positions,), the other listings.
            terms: int32, (positions,), their groups, see :meth:`terms_of`.

        Returns:
            float64, (groups, features); and int64, (candidates + positions,), the group of each listing.
            Candidates that vote, or are similar to the photo, are in the last groups, each in one.
        """
        classes, special = len(self._path_of_class), self._special
        path = self.listings.path[np.concatenate([self.candidates, positions])]
        code, count = self._class_of_path[path], classes
        if self._matches is not None and self._terms is not None:
            # A long query has so many groups that 32 bits may not suffice.
            code += classes * np.concatenate([self._terms, terms]).astype(np.int64)
            count *= len(self._matches.text_of_group)
        used, group = _number(code, count)
        terms_, class_ = np.divmod(used, classes)
        group[special] = len(used) + np.arange(len(special))
        own = np.concatenate([np.broadcast_to(self._own[-1], (len(used), 3)), self._own[special]])
        if self._terms is not None:
            terms_ = np.concatenate([terms_, self._terms[special]])
        return self._rows(
            np.concatenate([self._path_of_class[class_], path[special]]), terms_, own
        ), group

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
        if not self.listings.paths:
            return np.empty((0, len(RELEVANCE_FEATURES))), np.zeros_like(_IS_POINT)
        (row,) = self._rows(np.zeros(1, np.int64), 0)
        row[_COLUMN["voted_path"]] = self._best_path_vote
        row[_COLUMN["voted_category"]] = self._best_root_vote
        if self._photo_category is not None:
            row[_COLUMN["photo_category"]] = self._photo_category.max(initial=0)
        if self._photo_total:
            row[_COLUMN["photo_path"]] = self._photo_votes.max(initial=0) / self._photo_total
        rows = np.empty((len(_POINTS[0]), len(row)))
        rows[:] = row
        rows[:, _COLUMN["title_share"]], rows[:, _COLUMN["text_share"]] = _POINTS
        return rows, _IS_POINT.copy()

    def with_shares(self, is_point: Mask) -> tuple[Positions, NDArray[np.int32]]:
        """Return the other listings whose shares of the terms, rounded up, are in the mask.

        Returns:
            int64, (listings,), sorted, and int32, (listings,), their groups by the terms that they have.
            Candidates are left out.
        """
        if self._matches is None:
            return np.empty(0, np.int64), np.empty(0, np.int32)
        title, text = (
            np.minimum(np.ceil(shares * SHARE_STEPS), SHARE_STEPS).astype(np.intp)
            for shares in (self._matches.title_of_group, self._matches.text_of_group)
        )
        places = np.flatnonzero(is_point[title, text][self._matches.group])
        positions = self._matches.documents[places]
        is_other = self.is_no_candidate(positions)
        return positions[is_other], self._matches.group[places[is_other]]

    def is_no_candidate(self, positions: Positions) -> Mask:
        """Return which listings, sorted, are no candidates: bool, (positions,)."""
        mask = np.ones(len(positions), np.bool_)
        if len(positions):
            places = np.searchsorted(positions, self.candidates)
            np.minimum(places, len(positions) - 1, out=places)
            mask[places[positions[places] == self.candidates]] = False
        return mask

    def _rows(
        self,
        path: NDArray[np.integer],
        terms: NDArray[np.integer] | int,
        own: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Build rows of features.

        Args:
            path: category paths of the listings.
            terms: groups of the listings by the terms that they have; 0 for none.
            own: float64, (listings, 3): weight of the listing's own vote, which does not count; the same
                among similar photos; similarity by the photo source. None if they are no candidates.
        """
        own_vote, own_photo, similarity = (0.0, 0.0, np.nan) if own is None else own.T
        root = self.listings.root_of_path[path]
        remaining = np.maximum(self._total - own_vote, 1e-12)
        columns = np.full((len(RELEVANCE_FEATURES), len(path)), np.nan)
        columns[_COLUMN["voted_path"]] = (self._path_votes[path] - own_vote) / remaining
        columns[_COLUMN["voted_category"]] = (self._root_votes[root] - own_vote) / remaining
        columns[_COLUMN["best_path_vote"]] = self._best_path_vote
        columns[_COLUMN["best_category_vote"]] = self._best_root_vote
        if self._matches is not None:
            columns[_COLUMN["title_share"]] = self._matches.title_of_group[terms]
            columns[_COLUMN["text_share"]] = self._matches.text_of_group[terms]
            columns[_COLUMN["unknown_share"]] = self._matches.unknown
            columns[_COLUMN["query_terms"]] = self._matches.terms
        if self._photo_category is not None:
            columns[_COLUMN["photo_category"]] = self._photo_category[root]
        if self._best_photo is not None:
            columns[_COLUMN["best_photo_similarity"]] = self._best_photo
            votes = np.maximum(self._photo_total - own_photo, 1e-12)
            columns[_COLUMN["photo_path"]] = (self._photo_votes[path] - own_photo) / votes
            columns[_COLUMN["photo_similarity"]] = similarity
            columns[_COLUMN["photo_similarity_gap"]] = similarity - self._best_photo
        return np.ascontiguousarray(columns.T)


def _count(
    codes: NDArray[np.integer], count: int, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the votes for each code: float64, (count,)."""
    return np.bincount(codes, weights=weights, minlength=count).astype(np.float64, copy=False)


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
            in the mean over searches by words of the validation split.
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
        return predict(self.booster, features)


class Relevance:
    """Probability that each listing is relevant to one query, computed when it is read."""

    def __init__(self, model: RelevanceModel, features: RelevanceFeatures) -> None:
        self._model, self._features = model, features
        # Sorted positions and their probabilities, from :meth:`at_least`.
        self._known: list[tuple[Positions, NDArray[np.float64]]] = []

    def probabilities(self, positions: Positions) -> NDArray[np.float64]:
        """Return the probabilities of listings: float64, (positions,)."""
        values = np.full(len(positions), np.nan)
        for known, probabilities in self._known:
            places = np.minimum(np.searchsorted(known, positions), len(known) - 1)
            is_known = known[places] == positions
            values[is_known] = probabilities[places[is_known]]
        unknown = np.flatnonzero(np.isnan(values))
        if len(unknown):
            features = self._features.matrix(positions[unknown])
            values[unknown] = self._model.probabilities(features)
        return values

    def at_least(self, minimum: float, mask: Mask | None) -> tuple[NDArray[np.int64], Positions]:
        """Find the listings that reach a probability.

        Args:
            minimum: the probability.
            mask: bool, (listings,), the listings to return; None for all.

        Returns:
            int64, (chosen,), indices of candidates, sorted; and int64, (others,), positions of listings
            that are not candidates, most relevant first, ties by position.
        """
        features = self._features
        positions, terms = self._possible(minimum)
        if mask is not None:
            is_listed = mask[positions]
            positions, terms = positions[is_listed], terms[is_listed]
        rows, group = features.grouped_matrix(positions, terms)
        probabilities = self._model.probabilities(rows)
        count, values = len(features.candidates), probabilities[group]
        known = ((features.candidates, values[:count]), (positions, values[count:]))
        self._known = [part for part in known if len(part[0])]
        passing = np.flatnonzero(values >= minimum)
        chosen = passing[: np.searchsorted(passing, count)]
        others = passing[len(chosen) :]
        # Small integers sort faster, if there are many.
        keys = -probabilities if len(others) < MIN_RANKED else ranks(-probabilities)
        order = np.argsort(keys[group[others]], kind="stable")
        return chosen, positions[others[order] - count]

    def _possible(self, minimum: float) -> tuple[Positions, NDArray[np.int32]]:
        """Return all listings that reach a probability, and few others, without the candidates.

        Returns:
            int64, (listings,), sorted, and int32, (listings,), their groups by the terms that they have.
        """
        features, minimum = self._features, minimum - ROUNDING
        best, is_point = features.at_best()
        is_point[is_point] = self._model.probabilities(best) >= minimum
        with_terms = features.with_shares(is_point)
        if features.has_words and not is_point[0, 0]:
            return with_terms  # no other listing can have a better category
        silent, group = features.without_terms()
        paths = np.flatnonzero((self._model.probabilities(silent) >= minimum)[group]).tolist()
        if not paths:
            return with_terms
        is_possible = np.zeros(len(features.listings), np.bool_)
        is_possible[with_terms[0]] = True
        for path in paths:
            is_possible[features.listings.positions_of_path(path)] = True
        is_possible[features.candidates] = False
        positions = np.flatnonzero(is_possible)
        return positions, features.terms_of(positions)


def relevance_bytes(trees: str, threshold: float) -> bytes:
    """Return a model as JSON: trees in LightGBM's text format, and the default threshold."""
    return json.dumps({"threshold": threshold, "trees": trees}).encode()
