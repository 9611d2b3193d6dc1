"""Evaluation of the encoder's predictions."""

from typing import Final

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.vision.evaluation.abstention import select_abstention
from fb_marketplace.pipelines.vision.evaluation.drift import report_drift
from fb_marketplace.pipelines.vision.evaluation.evaluate import evaluate_vision
from fb_marketplace.pipelines.vision.evaluation.figures import (
    plot_drift,
    plot_mistakes,
    plot_photo_confusion,
    plot_product_confusion,
    plot_reliability_diagram,
)
from fb_marketplace.pipelines.vision.evaluation.late_fusion import fuse_products
from fb_marketplace.pipelines.vision.evaluation.leakage import report_leakage
from fb_marketplace.pipelines.vision.evaluation.model_card import write_model_card
from fb_marketplace.pipelines.vision.evaluation.photo_predictions import collect_photo_predictions
from fb_marketplace.pipelines.vision.evaluation.zero_shot import evaluate_zero_shot

EVALUATION: Final = "params:vision_evaluation"


def create_evaluation_pipeline() -> Pipeline:
    """Build the evaluation; it reads the predictions that come with the embeddings of all photos."""
    return Pipeline(
        [create_selection_pipeline(), create_metrics_pipeline()],
        namespace="vision_evaluation",
        prefix_datasets_with_namespace=False,
    )


def create_selection_pipeline() -> Pipeline:
    """Build the selection of fusion weights and abstention thresholds on validation."""
    return Pipeline(
        [
            node(
                collect_photo_predictions,
                ["image_embeddings", "encoder", "product_labels", "splits", "vision_labels"],
                "vision_predictions",
                name="collect_photo_predictions",
            ),
            node(
                fuse_products,
                ["vision_predictions", "category_text_probabilities", "product_labels", "splits"],
                ["product_predictions", "fusion"],
                name="fuse_products",
            ),
            node(
                select_abstention,
                ["vision_predictions", "product_predictions", "product_labels", EVALUATION],
                "abstention",
                name="select_abstention",
            ),
        ]
    )


def create_metrics_pipeline() -> Pipeline:
    """Build metrics, figures and the model card."""
    return Pipeline(
        [
            node(
                evaluate_vision,
                [
                    "vision_predictions",
                    "frozen_predictions",
                    "product_predictions",
                    "product_labels",
                    "splits",
                    "calibration",
                    "fusion",
                    "abstention",
                    EVALUATION,
                ],
                ["vision_metrics", "vision_per_class"],
                name="evaluate_vision",
            ),
            node(
                evaluate_zero_shot,
                [
                    "dual_image_embeddings",
                    "dual_text_encoder_fp32",
                    "dual_tokenizer",
                    "vision_predictions",
                    "vision_labels",
                    EVALUATION,
                ],
                "zero_shot_metrics",
                name="evaluate_zero_shot",
            ),
            node(
                report_drift,
                [
                    "training_listings",
                    "product_labels",
                    "splits",
                    "image_embeddings",
                    "vision_predictions",
                    "vision_labels",
                    EVALUATION,
                ],
                "drift_report",
                name="report_drift",
                tags="report",
            ),
            node(plot_drift, "drift_report", "drift_chart", name="plot_drift", tags="report"),
            node(
                report_leakage,
                [
                    "vision_features",
                    "product_labels",
                    "splits",
                    "params:vision",
                    EVALUATION,
                ],
                "leakage_report",
                name="report_leakage",
                tags=["report", "fit"],
            ),
            node(
                plot_photo_confusion,
                ["vision_predictions", "product_labels"],
                "photo_confusion",
                name="plot_photo_confusion",
                tags="report",
            ),
            node(
                plot_product_confusion,
                ["product_predictions", "product_labels"],
                "product_confusion",
                name="plot_product_confusion",
                tags="report",
            ),
            node(
                plot_reliability_diagram,
                ["vision_predictions", "product_labels", "calibration", EVALUATION],
                "reliability_diagram",
                name="plot_reliability_diagram",
                tags="report",
            ),
            node(
                plot_mistakes,
                ["vision_predictions", "images", "product_labels", EVALUATION],
                "mistakes_grid",
                name="plot_mistakes",
                tags="report",
            ),
            node(
                write_model_card,
                [
                    "vision_metrics",
                    "calibration",
                    "encoder_report",
                    "leakage_report",
                    "vision_labels",
                    "product_categories",
                    "content_digests",
                    "params:vision",
                ],
                "model_card",
                name="write_model_card",
                tags="report",
            ),
        ]
    )
