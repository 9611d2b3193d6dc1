"""Listings: cards, gazetteer and features of each listing."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.listings.gazetteer import make_places
from fb_marketplace.pipelines.listings.listing_features import make_facts, make_listings


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline(
        [
            node(make_listings, "products", "listings"),
            node(make_places, ["products", "params:places"], "places"),
            node(
                make_facts,
                ["products", "images", "duplicate_groups", "places"],
                ["listing_facts", "facts_report"],
            ),
        ]
    )
