"""Ranking features of a candidate, computed from the query and the listing only."""

import statistics
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.search.candidates import (
    RRF_K,
    SOURCES,
    CandidateSet,
    QueryVectors,
)
from fb_marketplace_serving.search.listings.filters import GeoFilter
from fb_marketplace_serving.search.listings.listing_store import ListingStore, Mask
from fb_marketplace_serving.search.tokenizer import words

FEEDBACK_DOCS: Final = 20
"""Number of top candidates that vote for the query's category and price (pseudo-relevance feedback)."""

FIRST_HITS: Final = 10
"""Number of top results of a source that vote for the query's category, the first ones most."""

FEATURES: Final = (
    *(f"{source}_similarity" for source in SOURCES),
    *(f"{source}_reciprocal_rank" for source in SOURCES),
    "bm25_share_of_best",
    "title_share",
    "fused",
    "photo_category",
    "photo_path",
    "image_similarity_gap",
    "voted_category",
    "voted_path",
    *(f"{source}_voted_category" for source in SOURCES),
    *(f"{source}_voted_path" for source in SOURCES),
    "price_ratio",
    "has_price",
    "distance_km",
    "photos",
    "photo_megapixels",
    "description_words",
    "age_days",
    "query_words",
)
"""The columns, in order; NaN if the query or the listing lacks a value. Rename a feature if its definition
changes: :class:`Ranker` rejects models with other feature names."""

COMPOSED_FEATURES: Final = ("title_share", "photo_path", "image_similarity_gap")
"""Features for composed queries: an attribute in the title, and the category of the photo."""

DESCRIPTIONS: Final = {
    "bm25_similarity": "matches the words",
    "text_similarity": "similar in meaning",
    "text_to_image_similarity": "photo matches the words",
    "image_similarity": "photo looks similar",
    "multimodal_similarity": "photo looks similar and matches the words",
    **{f"{source}_reciprocal_rank": f"rank by {source}" for source in SOURCES},
    "bm25_share_of_best": "matches the words, relative to the best match",
    "title_share": "words in the title",
    "fused": "combined rank of all sources",
    "photo_category": "category of the photo",
    "photo_path": "category path of similar photos",
    "image_similarity_gap": "photo similarity, less the best",
    "voted_category": "category of the top candidates",
    "voted_path": "category path of the top candidates",
    **{f"{source}_voted_category": f"category of the best hits by {source}" for source in SOURCES},
    **{f"{source}_voted_path": f"category path of the best hits by {source}" for source in SOURCES},
    "price_ratio": "price relative to the top candidates",
    "has_price": "has a price",
    "distance_km": "distance",
    "photos": "number of photos",
    "photo_megapixels": "size of the photo",
    "description_words": "length of the description",
    "age_days": "age of the listing",
    "query_words": "length of the query",
}


def compute_features(
    candidates: CandidateSet,
    query: QueryVectors,
    listings: ListingStore,
    labels: tuple[str, ...],
    location: GeoFilter | None = None,
    row_mask: Mask | None = None,
) -> NDArray[np.float64]:
    """Compute the features of candidates.

    Args:
        candidates: the candidates.
        query: their query.
        listings: the listings.
        labels: the classes of ``query.photo_categories``.
        location: the buyer's location, if given.
        row_mask: bool, (rows,), the photos to count; None for all.

    Returns:
        float64, (candidates, features), in the order of ``FEATURES``.
    """
    count, positions = len(candidates), candidates.positions
    voters = np.argsort(-candidates.fused, kind="stable")[:FEEDBACK_DOCS]
    weights = candidates.fused[voters]
    price, path = listings.price[positions], listings.path[positions]
    root = listings.root[positions]
    features = listings.features
    columns: dict[str, Any] = {}
    for source, similarity in candidates.similarity.items():
        columns[f"{source}_similarity"] = similarity
    for source, ranks in candidates.rank.items():
        columns[f"{source}_reciprocal_rank"] = (ranks > 0) / np.maximum(ranks, 1)
        first = np.flatnonzero((ranks > 0) & (ranks <= FIRST_HITS))
        votes = 1 / (1 + ranks[first])
        columns[f"{source}_voted_category"] = _vote_shares(root, first, votes)
        columns[f"{source}_voted_path"] = _vote_shares(path, first, votes)
    if "bm25" in candidates.similarity:
        bm25 = candidates.similarity["bm25"]
        columns["bm25_share_of_best"] = bm25 / max(float(bm25.max(initial=0)), 1e-6)
    matches = candidates.matches
    if matches is not None:
        columns["title_share"] = matches.title_of_group[matches.groups_of(positions)]
    columns["fused"] = candidates.fused
    by_root = photo_categories(query, listings, labels)
    if by_root is not None:
        columns["photo_category"] = by_root[root]
    if "image" in candidates.rank and count:
        ranks, similarity = candidates.rank["image"], candidates.similarity["image"]
        nearest = np.flatnonzero((ranks > 0) & (ranks <= FEEDBACK_DOCS))
        columns["photo_path"] = _vote_shares(path, nearest, 1 / (RRF_K + ranks[nearest]))
        columns["image_similarity_gap"] = similarity - similarity[ranks == 1].max(initial=-1)
    columns["voted_category"] = _vote_shares(root, voters, weights)
    columns["voted_path"] = _vote_shares(path, voters, weights)
    columns["price_ratio"] = _price_ratio(price, voters)
    columns["has_price"] = ~np.isnan(price)
    if location is not None:
        columns["distance_km"] = listings.distances(location, positions)
    columns["photos"] = _photo_counts(listings, row_mask)[positions]
    columns["photo_megapixels"] = features.photo_pixels[positions] / 1e6
    columns["description_words"] = features.description_words[positions]
    columns["age_days"] = features.age_days[positions]
    columns["query_words"] = len(words(query.words))
    rows = np.full((count, len(FEATURES)), np.nan)
    for column, name in enumerate(FEATURES):
        if name in columns:
            rows[:, column] = columns[name]
    return rows


def _photo_counts(listings: ListingStore, row_mask: Mask | None) -> NDArray[np.integer]:
    if row_mask is None:
        return listings.photo_count
    return np.bincount(listings.listing_of_row[row_mask], minlength=len(listings))


def _vote_shares(
    classes: NDArray[np.int32], voters: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the share of the votes for each candidate's class, excluding its own vote."""
    votes = np.bincount(classes[voters], weights=weights, minlength=int(classes.max(initial=0)) + 1)
    own = np.zeros(len(classes))
    own[voters] = weights
    total = float(weights.sum())
    shares: NDArray[np.float64] = (votes[classes] - own) / np.maximum(total - own, 1e-12)
    return shares


def _price_ratio(price: NDArray[np.float64], voters: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return log(price / median price of the voters); NaN without a price."""
    voter_prices = price[voters]
    voter_prices = voter_prices[voter_prices > 0].tolist()
    if not voter_prices:
        return np.full(len(price), np.nan)
    with np.errstate(divide="ignore"):
        # For so few numbers, ten times as fast as NumPy's.
        ratio = np.log(price / statistics.median(voter_prices))
    return np.where(price > 0, ratio, np.nan)


def photo_categories(
    query: QueryVectors, listings: ListingStore, labels: tuple[str, ...]
) -> NDArray[np.float64] | None:
    """Return the photo's probability of each root category; None without a photo."""
    if query.photo_categories is None:
        return None
    probabilities = dict(zip(labels, query.photo_categories.tolist(), strict=True))
    return np.array([probabilities.get(category, 0.0) for category in listings.categories])
