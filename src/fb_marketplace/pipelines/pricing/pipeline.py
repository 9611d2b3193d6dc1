"""Pricing: price insights from comparable listings."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.pricing.build_price_insights import make_price_notes


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline(
        [
            node(
                make_price_notes,
                [
                    "products",
                    "splits",
                    "text_embeddings",
                    "listing_facts",
                    "images",
                    "image_products",
                    "duplicate_groups",
                    "params:price_notes",
                ],
                ["price_notes", "price_note_metrics"],
            ),
        ]
    )
