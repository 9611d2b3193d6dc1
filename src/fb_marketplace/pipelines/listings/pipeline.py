"""Listings: cards, gazetteer and features of each listing."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.listings.gazetteer import build_gazetteer
from fb_marketplace.pipelines.listings.listing_features import (
    build_listing_cards,
    build_listing_features,
)


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline(
        [
            node(build_listing_cards, "products", "listings"),
            node(build_gazetteer, ["products", "params:places"], "places"),
            node(
                build_listing_features,
                ["products", "images", "duplicate_groups", "places"],
                ["listing_facts", "facts_report"],
            ),
        ]
    )
