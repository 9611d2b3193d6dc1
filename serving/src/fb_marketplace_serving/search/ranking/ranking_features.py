"""Ranking features of a candidate, computed from the query and the listing only."""

import statistics
from collections.abc import Sequence
from typing import Final

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

_COLUMN: Final = {name: column for column, name in enumerate(FEATURES)}

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
    voters = candidates.by_fused_rank[:FEEDBACK_DOCS]
    price, path = listings.price[positions], listings.path[positions]
    root = listings.root[positions]
    features = listings.features
    # By column; filled where the query and the listings have values.
    columns = np.full((len(FEATURES), count), np.nan)
    for source, similarity in candidates.similarity.items():
        columns[_COLUMN[f"{source}_similarity"]] = similarity
    sources = np.array([SOURCES.index(source) for source in candidates.rank], np.intp)
    ranks = np.array([*candidates.rank.values()], np.int32).reshape(len(sources), count)
    is_ranked = ranks > 0
    reciprocals = np.zeros(ranks.shape)
    np.divide(1, ranks, out=reciprocals, where=is_ranked)
    columns[_COLUMN[f"{SOURCES[0]}_reciprocal_rank"] + sources] = reciprocals
    # One row per vote: of the first hits of each source, of all together, and of similar photos.
    votes = np.zeros((len(sources) + 2, count))
    np.divide(1, 1 + ranks, out=votes[: len(sources)], where=is_ranked & (ranks <= FIRST_HITS))
    votes[-2, voters] = candidates.fused[voters]
    if "bm25" in candidates.similarity:
        bm25 = candidates.similarity["bm25"]
        columns[_COLUMN["bm25_share_of_best"]] = bm25 / max(float(bm25.max(initial=0)), 1e-6)
    if candidates.matches is not None and candidates.terms is not None:
        columns[_COLUMN["title_share"]] = candidates.matches.title_of_group[candidates.terms]
    columns[_COLUMN["fused"]] = candidates.fused
    by_root = photo_categories(query, listings, labels)
    if by_root is not None:
        columns[_COLUMN["photo_category"]] = by_root[root]
    is_by_photo = "image" in candidates.rank and count > 0
    if is_by_photo:
        image, similarity = candidates.rank["image"], candidates.similarity["image"]
        np.divide(1, RRF_K + image, out=votes[-1], where=(image > 0) & (image <= FEEDBACK_DOCS))
        best = similarity[image == 1].max(initial=-1)
        columns[_COLUMN["image_similarity_gap"]] = similarity - best
    for kind, shares in zip(("category", "path"), _vote_shares((root, path), votes), strict=True):
        columns[_COLUMN[f"{SOURCES[0]}_voted_{kind}"] + sources] = shares[:-2]
        columns[_COLUMN[f"voted_{kind}"]] = shares[-2]
        if is_by_photo and kind == "path":
            columns[_COLUMN["photo_path"]] = shares[-1]
    columns[_COLUMN["price_ratio"]] = _price_ratio(price, voters)
    columns[_COLUMN["has_price"]] = ~np.isnan(price)
    if location is not None:
        columns[_COLUMN["distance_km"]] = listings.distances(location, positions)
    columns[_COLUMN["photos"]] = _photo_counts(listings, row_mask)[positions]
    columns[_COLUMN["photo_megapixels"]] = features.photo_pixels[positions] / 1e6
    columns[_COLUMN["description_words"]] = features.description_words[positions]
    columns[_COLUMN["age_days"]] = features.age_days[positions]
    columns[_COLUMN["query_words"]] = len(words(query.words))
    return np.ascontiguousarray(columns.T)


def _photo_counts(listings: ListingStore, row_mask: Mask | None) -> NDArray[np.integer]:
    if row_mask is None:
        return listings.photo_count
    return np.bincount(listings.listing_of_row[row_mask], minlength=len(listings))


def _vote_shares(
    classifications: Sequence[NDArray[np.int32]], votes: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Return the shares of the votes for each candidate's classes, excluding its own vote.

    Args:
        classifications: int32, (candidates,) each.
        votes: float64, (ballots, candidates), the weights of the candidates' own votes.

    Returns:
        float64, (ballots, candidates), for each classification.
    """
    ballot, voter = votes.nonzero()
    weights = votes[ballot, voter]
    total = np.bincount(ballot, weights, len(votes))
    others = np.maximum(total[:, np.newaxis] - votes, 1e-12)
    shares = []
    for classes in classifications:
        count = int(classes.max(initial=0)) + 1
        by_class = np.bincount(ballot * count + classes[voter], weights, len(votes) * count)
        own = by_class.reshape(len(votes), count)[:, classes] - votes
        own /= others
        shares.append(own)
    return shares


def _price_ratio(price: NDArray[np.float64], voters: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return log(price / median price of the voters); NaN without a price."""
    voter_prices = price[voters]
    voter_prices = voter_prices[voter_prices > 0].tolist()
    if not voter_prices:
        return np.full(len(price), np.nan)
    # For so few numbers, ten times as fast as NumPy's.
    median = statistics.median(voter_prices)
    ratio = np.full(len(price), np.nan)
    np.log(price / median, out=ratio, where=price > 0)
    return ratio


def photo_categories(
    query: QueryVectors, listings: ListingStore, labels: tuple[str, ...]
) -> NDArray[np.float64] | None:
    """Return the photo's probability of each root category; None without a photo."""
    if query.photo_categories is None:
        return None
    probabilities = dict(zip(labels, query.photo_categories.tolist(), strict=True))
    return np.array([probabilities.get(category, 0.0) for category in listings.categories])
