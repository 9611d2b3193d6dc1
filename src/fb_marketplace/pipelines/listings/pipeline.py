"""Listings: cards, gazetteer and features of each listing."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.listings.gazetteer import build_gazetteer
from fb_marketplace.pipelines.listings.listing_features import (
    build_descriptions,
    build_listing_cards,
    build_listing_features,
)


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return Pipeline(
        [
            node(build_listing_cards, "products", "listings", name="build_listing_cards"),
            node(build_descriptions, "products", "descriptions", name="build_descriptions"),
            node(
                build_gazetteer,
                ["products", "params:gazetteer"],
                "gazetteer",
                name="build_gazetteer",
            ),
            node(
                build_listing_features,
                ["products", "images", "duplicate_groups", "gazetteer", "params:splits", "splits"],
                ["listing_features", "listing_features_report"],
                name="build_listing_features",
            ),
        ],
        namespace="listings",
        prefix_datasets_with_namespace=False,
    )
