"""Baselines: what text, tables and small pixels say of price and category, beside trivial answers."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.baselines.category_metrics import (
    draw_text_confusion,
    measure_category,
)
from fb_marketplace.pipelines.baselines.category_models import answer_category, learn_category
from fb_marketplace.pipelines.baselines.figures import compare, draw_comparison, draw_prices
from fb_marketplace.pipelines.baselines.pixel_classifier import answer_by_pixels
from fb_marketplace.pipelines.baselines.price_metrics import measure_price
from fb_marketplace.pipelines.baselines.train_price import learn_price


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline(
        [
            node(
                learn_price,
                ["products", "splits", "params:baselines"],
                ["price_model", "price_answers", "price_choices"],
            ),
            node(
                measure_price,
                ["price_answers", "price_choices", "params:baselines"],
                "price_metrics",
            ),
            node(draw_prices, ["price_answers", "price_choices"], "price_chart"),
            node(
                learn_category,
                ["products", "splits", "params:baselines"],
                ["category_model", "category_text_probabilities", "category_choices"],
            ),
            node(
                answer_by_pixels,
                ["products", "splits", "images", "params:baselines"],
                "category_pixel_answers",
            ),
            node(
                answer_category,
                [
                    "products",
                    "splits",
                    "category_text_probabilities",
                    "category_pixel_answers",
                    "params:baselines",
                ],
                "category_answers",
            ),
            node(
                measure_category,
                [
                    "category_answers",
                    "category_text_probabilities",
                    "category_choices",
                    "params:baselines",
                ],
                "category_metrics",
            ),
            node(
                draw_text_confusion, ["category_answers", "category_choices"], "category_confusion"
            ),
            node(compare, ["price_metrics", "category_metrics"], "baselines_table"),
            node(draw_comparison, "baselines_table", "baselines_chart"),
        ]
    )
