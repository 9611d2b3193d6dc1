"""What a ranker knows of a candidate: numbers that a query and a listing give, and nothing else."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.search.candidates import SOURCES, CandidateSet, QueryVectors
from fb_marketplace_serving.search.filters import GeoFilter
from fb_marketplace_serving.search.listing_store import ListingStore, Mask
from fb_marketplace_serving.search.tokenizer import words

FEEDBACK_DOCS: Final = 20
"""Of the candidates that the sources find first, whose categories and prices speak for the query's."""

FEATURES: Final = (
    *(f"{source}_similarity" for source in SOURCES),
    *(f"{source}_reciprocal_rank" for source in SOURCES),
    "bm25_share_of_best",
    "fused",
    "photo_category",
    "voted_category",
    "voted_path",
    "price_ratio",
    "has_price",
    "distance_km",
    "photos",
    "photo_megapixels",
    "description_words",
    "query_words",
)
"""The columns, in order. A number that the query or the listing does not give is NaN. One that comes to say
something else needs another name: by their names a model is known to be of these."""

DESCRIPTIONS: Final = {
    "bm25_similarity": "holds the words",
    "text_similarity": "means the same",
    "text_to_image_similarity": "looks as the words say",
    "image_similarity": "looks like the photo",
    "multimodal_similarity": "looks like the photo, as the words change it",
    **{f"{source}_reciprocal_rank": f"place by {source}" for source in SOURCES},
    "bm25_share_of_best": "holds the words, beside the best",
    "fused": "places by all together",
    "photo_category": "category that the photo shows",
    "voted_category": "category of what was found first",
    "voted_path": "category path of what was found first",
    "price_ratio": "price beside what was found first",
    "has_price": "has a price",
    "distance_km": "distance",
    "photos": "number of photos",
    "photo_megapixels": "size of the photo",
    "description_words": "length of the description",
    "query_words": "length of the query",
}


def compute_features(
    pool: CandidateSet,
    query: QueryVectors,
    catalogue: ListingStore,
    labels: tuple[str, ...],
    near: GeoFilter | None = None,
    rows: Mask | None = None,
) -> NDArray[np.float64]:
    """Describe candidates: float64, (candidates, features), in the order of ``FEATURES``.

    Args:
        pool: the candidates.
        query: what they were found by.
        catalogue: the listings.
        labels: the classes of ``query.photo_categories``.
        near: where the buyer is, if that was told.
        rows: bool, (rows,), the photos that count; all of them without it.
    """
    count = len(pool)
    nothing = np.full(count, np.nan)
    at = pool.positions
    voters = np.lexsort((at, -pool.fused))[:FEEDBACK_DOCS]
    weights = pool.fused[voters]
    price = catalogue.price[at]
    facts = catalogue.facts
    bm25 = pool.similarity.get("bm25")
    columns: dict[str, NDArray[np.floating]] = {}
    for source in SOURCES:
        columns[f"{source}_similarity"] = pool.similarity.get(source, nothing.astype(np.float32))
        ranks = pool.rank.get(source)
        columns[f"{source}_reciprocal_rank"] = (
            nothing if ranks is None else np.where(ranks > 0, 1 / np.maximum(ranks, 1), 0.0)
        )
    columns["bm25_share_of_best"] = (
        nothing if bm25 is None else bm25 / max(float(bm25.max(initial=0)), 1e-6)
    )
    columns["fused"] = pool.fused
    columns["photo_category"] = _photo_category(query, catalogue, labels, at, nothing)
    columns["voted_category"] = _voted(catalogue.root[at], voters, weights)
    columns["voted_path"] = _voted(catalogue.path[at], voters, weights)
    columns["price_ratio"] = _price_ratio(price, voters)
    columns["has_price"] = (~np.isnan(price)).astype(np.float64)
    columns["distance_km"] = nothing if near is None else catalogue.distances(near, at)
    columns["photos"] = _photo_counts(catalogue, rows)[at]
    columns["photo_megapixels"] = facts.photo_pixels[at] / 1e6
    columns["description_words"] = facts.description_words[at].astype(np.float64)
    columns["query_words"] = np.full(count, float(len(words(query.words))))
    return np.stack([columns[name].astype(np.float64) for name in FEATURES], axis=1)


def _photo_counts(catalogue: ListingStore, rows: Mask | None) -> NDArray[np.float64]:
    if rows is None:
        return catalogue.photo_count.astype(np.float64)
    counts = np.bincount(catalogue.listing_of_row[rows], minlength=len(catalogue))
    return counts.astype(np.float64)


def _voted(
    of: NDArray[np.int32], voters: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give the share of the votes that each candidate's own class has, its own vote not counted."""
    votes = np.bincount(of[voters], weights=weights, minlength=int(of.max(initial=0)) + 1)
    own = np.zeros(len(of))
    own[voters] = weights
    total = float(weights.sum())
    shares: NDArray[np.float64] = (votes[of] - own) / np.maximum(total - own, 1e-12)
    return shares


def _price_ratio(price: NDArray[np.float64], voters: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the logarithm of prices over the median of what was found first; NaN without a price."""
    theirs = price[voters]
    theirs = theirs[theirs > 0]
    if not len(theirs):
        return np.full(len(price), np.nan)
    with np.errstate(divide="ignore"):
        ratio = np.log(price / np.median(theirs))
    return np.where(price > 0, ratio, np.nan)


def _photo_category(
    query: QueryVectors,
    catalogue: ListingStore,
    labels: tuple[str, ...],
    at: NDArray[np.int64],
    nothing: NDArray[np.float64],
) -> NDArray[np.float64]:
    if query.photo_categories is None:
        return nothing
    told = dict(zip(labels, query.photo_categories.tolist(), strict=True))
    by_root = np.array([told.get(category, 0.0) for category in catalogue.categories])
    return by_root[catalogue.root[at]]
