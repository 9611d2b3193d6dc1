"""Price intervals and insights of all listings, in the served format, and their evaluation."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.parameters.pricing import PricingParameters
from fb_marketplace.pipelines.pricing.comparable_listings import (
    NO_NEIGHBOR,
    ComparableListings,
    Kinds,
    find_comparable_listings,
)
from fb_marketplace.pipelines.pricing.insights import find_photos_elsewhere, find_unusual_prices
from fb_marketplace.pipelines.pricing.metrics import count_insights, evaluate_price_intervals
from fb_marketplace.pipelines.pricing.price_intervals import (
    PriceInterval,
    SelectedIntervals,
    calibrate_intervals,
    compute_price_intervals,
    interval_from_category,
)
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace.storage.vectors import VectorTable, read_vectors
from fb_marketplace_serving.search.listings.listing_features import ListingFeatures
from fb_marketplace_serving.search.listings.price_insights import Insight, write_price_insights


class PriceInsightArtifacts(NamedTuple):
    """Insights, Parquet for the server's ``PriceInsightTable``, and metrics of the intervals."""

    insights: bytes
    metrics: dict[str, Any]


class _Intervals(NamedTuple):
    """Price intervals from comparable listings and from categories."""

    comparables: ComparableListings
    selected: SelectedIntervals
    by_category: PriceInterval


def build_price_insights(
    products: pd.DataFrame,
    splits: pd.DataFrame,
    text_embeddings: Table,
    listing_features: FileRef,
    images: Table,
    image_products: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
    parameters: PricingParameters,
) -> PriceInsightArtifacts:
    """Compute the price interval of each listing and the insights for a buyer.

    Listings with a flagged price (missing, zero, joke or absurd) are not comparable, and get no interval.

    Args:
        products: the listings.
        splits: split of each listing.
        text_embeddings: embeddings of the listings' texts.
        listing_features: families of listings.
        images: the photos, for their digests.
        image_products: listing of each photo.
        duplicate_groups: groups of copies and near-duplicates.
        parameters: coverage, numbers of neighbors, and limits of insights.

    Returns:
        The insights; and metrics, see :func:`evaluate_price_intervals` and :func:`count_insights`.

    Raises:
        InsufficientDataError: no price can be compared.
    """
    features = ListingFeatures.from_bytes(listing_features.read())
    listed = _select_unflagged_prices(products, splits, features)
    if listed.empty:
        raise InsufficientDataError("no listing has a usable price")
    texts = read_vectors(text_embeddings, "product_id", "embedding")
    computed = _compute_intervals(listed, texts, parameters)
    intervals = computed.selected.intervals
    if np.isnan(intervals.low).all():
        raise InsufficientDataError(
            f"no listing has pricing.min_neighbors = {parameters.min_neighbors} "
            "comparable listings with a usable price"
        )
    evidence = [
        [row for row in rows if row != NO_NEIGHBOR]
        for rows in computed.comparables.rows[:, : parameters.max_evidence].tolist()
    ]
    unusual = find_unusual_prices(
        listed, intervals, computed.selected.listings, evidence, parameters.outlier_factor
    )
    elsewhere = find_photos_elsewhere(
        products[products["price"].notna()],
        image_products,
        duplicate_groups,
        images.read(["image_id", "source_sha256", "sha256"]).to_pandas(),
        parameters.max_photo_matches,
    )
    insights = {
        product: [*unusual.get(product, []), *elsewhere.get(product, [])]
        for product in unusual.keys() | elsewhere.keys()
    }
    return PriceInsightArtifacts(
        _write(tuple(features.product_ids), listed, intervals, evidence, insights),
        {
            "listings": len(products),
            **evaluate_price_intervals(listed, computed.selected, computed.by_category, parameters),
            "insights": count_insights(insights),
        },
    )


def _select_unflagged_prices(
    products: pd.DataFrame, splits: pd.DataFrame, features: ListingFeatures
) -> pd.DataFrame:
    """Return the listings with an unflagged price, with group, split and family, sorted by id."""
    unflagged = products[products["price_flag"].isna() & (products["price"] > 0)]
    sides = splits.drop_duplicates("product_id")[["product_id", "group", "split"]]
    family = pd.DataFrame({"product_id": list(features.product_ids), "family": features.family})
    return (
        unflagged.merge(sides, on="product_id", validate="1:1")
        .merge(family, on="product_id", validate="1:1")
        .sort_values("product_id", ignore_index=True)
    )


def _compute_intervals(
    listed: pd.DataFrame, texts: VectorTable, parameters: PricingParameters
) -> _Intervals:
    kinds = Kinds(
        _factorize(listed["category"] + "\n" + listed["currency"]),
        _factorize(listed["category_path"]),
        listed["family"].to_numpy(np.int32),
    )
    comparables = find_comparable_listings(
        texts.select(listed["product_id"].to_list()),
        kinds,
        max(parameters.neighbors),
        parameters.same_path_bonus,
        parameters.min_similarity,
    )
    logs = np.log(listed["price"].to_numpy(np.float64))
    splits = listed["split"].to_numpy(str)
    by_category = interval_from_category(
        logs, kinds.market, splits == "train", parameters.min_spread
    )
    return _Intervals(
        comparables,
        compute_price_intervals(logs, comparables, splits, parameters),
        calibrate_intervals(logs, by_category, splits != "test", parameters.coverage),
    )


def _write(
    product_ids: tuple[str, ...],
    listed: pd.DataFrame,
    intervals: PriceInterval,
    evidence: list[list[int]],
    insights: dict[str, list[Insight]],
) -> bytes:
    row_of = {product: row for row, product in enumerate(product_ids)}
    rows = [row_of[product] for product in listed["product_id"]]
    low, high = np.full((2, len(product_ids)), np.nan)
    low[rows], high[rows] = intervals.low, intervals.high
    comparables: list[list[int]] = [[] for _ in product_ids]
    for row, others in zip(rows, evidence, strict=True):
        comparables[row] = [rows[other] for other in others]
    return write_price_insights(
        product_ids, low, high, comparables, [insights.get(product, []) for product in product_ids]
    )


def _factorize(names: "pd.Series[str]") -> NDArray[np.int32]:
    return pd.factorize(names)[0].astype(np.int32)
