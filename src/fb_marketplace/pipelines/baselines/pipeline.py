"""Baselines: price and category from text, tables and thumbnails, compared with trivial models."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.baselines.category_metrics import (
    evaluate_categories,
    plot_text_confusion,
)
from fb_marketplace.pipelines.baselines.category_models import (
    predict_categories,
    predict_category_text,
    train_category_model,
)
from fb_marketplace.pipelines.baselines.figures import (
    compare_baselines,
    plot_comparison,
    plot_prices,
)
from fb_marketplace.pipelines.baselines.pixel_classifier import (
    predict_from_pixels,
    train_pixel_model,
)
from fb_marketplace.pipelines.baselines.price_metrics import evaluate_prices
from fb_marketplace.pipelines.baselines.train_price import predict_prices, train_price_models


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return Pipeline(
        [
            node(
                train_category_model,
                ["products", "product_labels", "splits", "text_embeddings", "params:baselines"],
                ["category_model", "category_choices"],
                name="train_category_model",
                tags=["train", "fit"],
            ),
            node(
                predict_category_text,
                ["category_model", "products", "product_labels", "splits", "text_embeddings"],
                "category_text_probabilities",
                name="predict_category_text",
            ),
            node(
                train_pixel_model,
                ["product_labels", "splits", "images", "params:baselines"],
                "pixel_model",
                name="train_pixel_model",
                tags=["train", "fit"],
            ),
            node(
                predict_from_pixels,
                ["pixel_model", "product_labels", "splits", "images", "params:baselines"],
                "category_pixel_predictions",
                name="predict_from_pixels",
            ),
            node(
                predict_categories,
                [
                    "products",
                    "product_labels",
                    "splits",
                    "category_text_probabilities",
                    "category_pixel_predictions",
                    "params:baselines",
                ],
                "category_predictions",
                name="predict_categories",
            ),
            node(
                evaluate_categories,
                [
                    "category_predictions",
                    "category_text_probabilities",
                    "category_choices",
                    "params:baselines",
                ],
                "category_metrics",
                name="evaluate_categories",
            ),
            node(
                plot_text_confusion,
                ["category_predictions", "category_choices"],
                "category_confusion",
                name="plot_text_confusion",
                tags="report",
            ),
        ],
        namespace="baselines",
        prefix_datasets_with_namespace=False,
    )


def create_price_pipeline() -> Pipeline:
    """Build the pipeline of the price models, which need vectors of texts and photos."""
    return Pipeline(
        [
            node(
                train_price_models,
                [
                    "products",
                    "splits",
                    "text_embeddings",
                    "vision_features",
                    "params:baselines",
                ],
                ["price_model", "price_choices"],
                name="train_price_models",
                tags=["train", "fit"],
            ),
            node(
                predict_prices,
                ["price_model", "products", "splits", "text_embeddings", "vision_features"],
                "price_predictions",
                name="predict_prices",
            ),
            node(
                evaluate_prices,
                ["price_predictions", "price_choices", "params:baselines"],
                "price_metrics",
                name="evaluate_prices",
            ),
            node(
                plot_prices,
                ["price_predictions", "price_choices"],
                "price_chart",
                name="plot_prices",
                tags="report",
            ),
            node(
                compare_baselines,
                ["price_metrics", "category_metrics"],
                "baselines_table",
                name="compare_baselines",
                tags="report",
            ),
            node(
                plot_comparison,
                "baselines_table",
                "baselines_chart",
                name="plot_comparison",
                tags="report",
            ),
        ],
        namespace="pricing",
        prefix_datasets_with_namespace=False,
    )
