"""Pricing: price insights from comparable listings."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.pricing.build_price_insights import build_price_insights


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return Pipeline(
        [
            node(
                build_price_insights,
                [
                    "products",
                    "splits",
                    "text_embeddings",
                    "listing_features",
                    "images",
                    "image_products",
                    "duplicate_groups",
                    "params:pricing",
                ],
                ["price_insights", "price_insight_metrics"],
                name="build_price_insights",
            ),
        ],
        namespace="pricing",
        prefix_datasets_with_namespace=False,
    )
