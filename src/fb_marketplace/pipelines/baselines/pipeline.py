"""Baselines: what any model has to beat."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.baselines.trivial import commonest_category, median_price


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline(
        [
            node(
                median_price,
                ["products", "splits", "params:baselines"],
                ["price_model", "price_metrics"],
            ),
            node(
                commonest_category,
                ["products", "splits", "params:baselines"],
                ["category_model", "category_metrics"],
            ),
        ]
    )
