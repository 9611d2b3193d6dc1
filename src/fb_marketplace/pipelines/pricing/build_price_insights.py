"""Typical prices and notes of all listings, as they are served, and how well typical prices hold."""

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
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace.storage.vectors import VectorTable, read_vectors
from fb_marketplace_serving.search.listing_features import ListingFeatures
from fb_marketplace_serving.search.price_insights import Insight, write_price_insights


class PriceInsightArtifacts(NamedTuple):
    """Parquet for the server's ``PriceNotes``, and how well typical prices hold."""

    price_notes: bytes
    metrics: dict[str, Any]


class _Found(NamedTuple):
    """What there is of typical prices: by alike listings, and trivially."""

    alike: ComparableListings
    chosen: SelectedIntervals
    trivial: PriceInterval


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
    """Say of each listing what alike listings ask, and note what a buyer may want to look at.

    A price that is not meant as one (zero, a joke, absurd) counts for no other listing, and has no typical
    one beside it.

    Args:
        products: the listings.
        splits: where each belongs.
        text_embeddings: what their texts mean.
        listing_features: which listings show the same thing.
        images: the photos, for their digests.
        image_products: whose each photo is.
        duplicate_groups: which photos are copies.
        parameters: of coverage, neighbours and notes.

    Returns:
        ``price_notes``; and ``price_note_metrics``: see :func:`measure_typical` and :func:`count_notes`.
    """
    facts = ListingFeatures.from_bytes(listing_features.read())
    listed = _with_meant_price(products, splits, facts)
    texts = read_vectors(text_embeddings, "product_id", "meaning")
    found = _typical(listed, texts, parameters)
    shown = [
        [row for row in rows if row != NO_NEIGHBOR]
        for rows in found.alike.rows[:, : parameters.max_evidence].tolist()
    ]
    unusual = find_unusual_prices(
        listed, found.chosen.typical, found.chosen.listings, shown, parameters.outlier_factor
    )
    elsewhere = find_photos_elsewhere(
        products,
        image_products,
        duplicate_groups,
        images.read(["image_id", "source_sha256", "sha256"]).to_pandas(),
        parameters.max_photo_matches,
    )
    notes = {
        product: [*unusual.get(product, []), *elsewhere.get(product, [])]
        for product in unusual.keys() | elsewhere.keys()
    }
    return PriceInsightArtifacts(
        _written(facts.product_ids, listed, found.chosen.typical, shown, notes),
        {
            "listings": len(products),
            **evaluate_price_intervals(listed, found.chosen, found.trivial, parameters),
            "notes": count_insights(notes),
        },
    )


def _with_meant_price(
    products: pd.DataFrame, splits: pd.DataFrame, facts: ListingFeatures
) -> pd.DataFrame:
    """Give the listings whose price is meant, with group, split and family; sorted by id."""
    meant = products[products["price_flag"].isna() & (products["price"] > 0)]
    where = splits.drop_duplicates("product_id")[["product_id", "group", "split"]]
    family = pd.DataFrame({"product_id": list(facts.product_ids), "family": facts.family})
    return (
        meant.merge(where, on="product_id", validate="1:1")
        .merge(family, on="product_id", validate="1:1")
        .sort_values("product_id", ignore_index=True)
    )


def _typical(listed: pd.DataFrame, texts: VectorTable, parameters: PricingParameters) -> _Found:
    kinds = Kinds(
        _numbered(listed["category"] + "\n" + listed["currency"]),
        _numbered(listed["category_path"]),
        listed["family"].to_numpy(np.int32),
    )
    alike = find_comparable_listings(
        texts.of(listed["product_id"].to_list()),
        kinds,
        max(parameters.neighbors),
        parameters.same_path_bonus,
        parameters.min_similarity,
    )
    logs = np.log(listed["price"].to_numpy(np.float64))
    splits = listed["split"].to_numpy(str)
    by_market = interval_from_category(logs, kinds.market, splits == "train", parameters.min_spread)
    return _Found(
        alike,
        compute_price_intervals(logs, alike, splits, parameters),
        calibrate_intervals(logs, by_market, splits != "test", parameters.coverage),
    )


def _written(
    product_ids: tuple[str, ...],
    listed: pd.DataFrame,
    typical: PriceInterval,
    shown: list[list[int]],
    notes: dict[str, list[Insight]],
) -> bytes:
    place = {product: row for row, product in enumerate(product_ids)}
    rows = [place[product] for product in listed["product_id"]]
    low, high = np.full((2, len(product_ids)), np.nan)
    low[rows], high[rows] = typical.low, typical.high
    alike: list[list[int]] = [[] for _ in product_ids]
    for row, others in zip(rows, shown, strict=True):
        alike[row] = [rows[other] for other in others]
    return write_price_insights(
        product_ids, low, high, alike, [notes.get(product, []) for product in product_ids]
    )


def _numbered(names: "pd.Series[str]") -> NDArray[np.int32]:
    return pd.factorize(names)[0].astype(np.int32)
