"""Vision: learns categories from photos, and exports the one encoder that is served."""

from typing import Final

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.vision.evaluation.abstention import select_abstention
from fb_marketplace.pipelines.vision.evaluation.evaluate import evaluate
from fb_marketplace.pipelines.vision.evaluation.figures import (
    plot_mistakes,
    plot_photo_confusion,
    plot_product_confusion,
    plot_reliability_diagram,
)
from fb_marketplace.pipelines.vision.evaluation.late_fusion import fuse_products
from fb_marketplace.pipelines.vision.evaluation.leakage import report_leakage
from fb_marketplace.pipelines.vision.evaluation.metrics import log_vision_metrics
from fb_marketplace.pipelines.vision.evaluation.model_card import write_model_card
from fb_marketplace.pipelines.vision.export.backbone_features import extract_backbone_features
from fb_marketplace.pipelines.vision.export.block_features import extract_block_features
from fb_marketplace.pipelines.vision.export.encoder_selection import (
    calibrate_encoder,
    export_encoder,
    predict_photos,
    quantize_encoder,
    select_encoder,
)
from fb_marketplace.pipelines.vision.training.learning_curves import (
    plot_embedding_curve,
    plot_learning_curves,
    write_events,
)
from fb_marketplace.pipelines.vision.training.train import train_linear_probe, train_network
from fb_marketplace.pipelines.vision.training.train_embedding import (
    embed_layers,
    train_embedding_head,
)

MEASURED: Final = "params:vision_evaluation"


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline(
        [training(), embedding(), exporting(), choosing(), measuring()],
        namespace="vision",
        prefix_datasets_with_namespace=False,
    )


def training() -> Pipeline:
    """From photos to a trained model."""
    return Pipeline(
        [
            node(
                extract_backbone_features,
                ["images", "vision_features_existing_keys", "params:vision"],
                "vision_features",
                name="extract_backbone_features",
                tags="encode",
            ),
            node(
                train_linear_probe,
                ["vision_features", "products", "splits", "params:vision"],
                ["vision_head", "head_history", "frozen_predictions"],
                name="train_linear_probe",
                tags="train",
            ),
            node(
                train_network,
                [
                    "images",
                    "products",
                    "splits",
                    "vision_head",
                    "head_history",
                    "vision_work",
                    "content_digests",
                    "params:vision",
                ],
                [
                    "checkpoints",
                    "vision_model",
                    "vision_model_last_epoch",
                    "vision_labels",
                    "training_history",
                ],
                name="train_network",
                tags="train",
            ),
            node(
                plot_learning_curves,
                "training_history",
                "learning_curves",
                name="plot_learning_curves",
                tags="report",
            ),
            node(
                write_events,
                "training_history",
                "training_events",
                name="write_events",
                tags="report",
            ),
        ]
    )


def embedding() -> Pipeline:
    """From a trained model to the vector that similar photos are searched by."""
    return Pipeline(
        [
            node(
                extract_block_features,
                [
                    "images",
                    "block_features_existing_keys",
                    "vision_model",
                    "vision_labels",
                    "params:vision",
                ],
                "block_features",
                name="extract_block_features",
                tags="encode",
            ),
            node(
                train_embedding_head,
                ["block_features", "products", "splits", "vision_model", "params:vision"],
                ["embedding_head", "embedding_history"],
                name="train_embedding_head",
                tags="train",
            ),
            node(
                plot_embedding_curve,
                "embedding_history",
                "embedding_curve",
                name="plot_embedding_curve",
                tags="report",
            ),
            node(
                embed_layers,
                [
                    "block_features",
                    "products",
                    "splits",
                    "vision_model",
                    "vision_labels",
                    "params:vision",
                ],
                "layer_embeddings",
                name="embed_layers",
            ),
        ]
    )


def exporting() -> Pipeline:
    """From a trained model to the encoder that is served, and what it says."""
    photos = ["images", "products", "splits"]
    return Pipeline(
        [
            node(
                calibrate_encoder,
                [*photos, "vision_model", "vision_labels", "params:vision"],
                "calibration",
                name="calibrate_encoder",
            ),
            node(
                export_encoder,
                [
                    "vision_model",
                    "vision_labels",
                    "embedding_head",
                    "calibration",
                    "params:vision",
                ],
                "encoder_fp32",
                name="export_encoder",
            ),
            node(
                quantize_encoder,
                ["encoder_fp32", *photos, "params:vision"],
                "encoder_int8",
                name="quantize_encoder",
            ),
            node(
                select_encoder,
                ["encoder_fp32", "encoder_int8", *photos, "vision_labels", "params:vision"],
                ["encoder", "encoder_report"],
                name="select_encoder",
            ),
            node(
                predict_photos,
                ["encoder", *photos],
                "vision_predictions",
                name="predict_photos",
                tags="encode",
            ),
        ]
    )


def choosing() -> Pipeline:
    """What validation decides of the answers: how photos and text are weighed, and when to give none."""
    return Pipeline(
        [
            node(
                fuse_products,
                ["vision_predictions", "category_text_probabilities", "products", "splits"],
                ["product_predictions", "fusion"],
                name="fuse_products",
            ),
            node(
                select_abstention,
                ["vision_predictions", "product_predictions", "products", MEASURED],
                "abstention",
                name="select_abstention",
            ),
        ]
    )


def measuring() -> Pipeline:
    """How good it is, on the test split too; and what there is to look at and to read."""
    return Pipeline(
        [
            node(
                evaluate,
                [
                    "vision_predictions",
                    "frozen_predictions",
                    "product_predictions",
                    "products",
                    "splits",
                    "calibration",
                    "fusion",
                    "abstention",
                    MEASURED,
                ],
                ["vision_metrics", "vision_per_class"],
                name="evaluate",
            ),
            node(
                log_vision_metrics, "vision_metrics", None, name="log_vision_metrics", tags="report"
            ),
            node(
                report_leakage,
                ["vision_features", "products", "splits", "params:vision", MEASURED],
                "leakage_report",
                name="report_leakage",
                tags="report",
            ),
            node(
                plot_photo_confusion,
                ["vision_predictions", "products"],
                "photo_confusion",
                name="plot_photo_confusion",
                tags="report",
            ),
            node(
                plot_product_confusion,
                ["product_predictions", "products"],
                "product_confusion",
                name="plot_product_confusion",
                tags="report",
            ),
            node(
                plot_reliability_diagram,
                ["vision_predictions", "products", "calibration", MEASURED],
                "reliability_diagram",
                name="plot_reliability_diagram",
                tags="report",
            ),
            node(
                plot_mistakes,
                ["vision_predictions", "images", "products", MEASURED],
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
                    "content_digests",
                    "params:vision",
                ],
                "model_card",
                name="write_model_card",
                tags="report",
            ),
        ]
    )
