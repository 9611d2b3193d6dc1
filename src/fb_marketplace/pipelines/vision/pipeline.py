"""Vision: learns categories from photos, and exports the one encoder that is served."""

from typing import Final

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.vision.evaluation.abstention import select_abstention
from fb_marketplace.pipelines.vision.evaluation.console import log_vision_metrics
from fb_marketplace.pipelines.vision.evaluation.evaluate import evaluate
from fb_marketplace.pipelines.vision.evaluation.figures import (
    plot_mistakes,
    plot_photo_confusion,
    plot_product_confusion,
    plot_reliability_diagram,
)
from fb_marketplace.pipelines.vision.evaluation.late_fusion import fuse_products
from fb_marketplace.pipelines.vision.evaluation.leakage import report_leakage
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
    return training() + embedding() + exporting() + choosing() + measuring()


def training() -> Pipeline:
    """From photos to a trained model."""
    return Pipeline(
        [
            node(
                extract_backbone_features,
                ["images", "vision_features_held", "params:vision"],
                "vision_features",
            ),
            node(
                train_linear_probe,
                ["vision_features", "products", "splits", "params:vision"],
                ["vision_head", "head_history", "frozen_predictions"],
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
                    "vision_model_final",
                    "vision_labels",
                    "training_history",
                ],
            ),
            node(plot_learning_curves, "training_history", "learning_curves"),
            node(write_events, "training_history", "training_events"),
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
                    "level_features_held",
                    "vision_model",
                    "vision_labels",
                    "params:vision",
                ],
                "level_features",
            ),
            node(
                train_embedding_head,
                ["level_features", "products", "splits", "vision_model", "params:vision"],
                ["embedding_head", "embedding_history"],
            ),
            node(plot_embedding_curve, "embedding_history", "embedding_curve"),
            node(
                embed_layers,
                [
                    "level_features",
                    "products",
                    "splits",
                    "vision_model",
                    "vision_labels",
                    "params:vision",
                ],
                "layer_embeddings",
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
            ),
            node(quantize_encoder, ["encoder_fp32", *photos, "params:vision"], "encoder_int8"),
            node(
                select_encoder,
                ["encoder_fp32", "encoder_int8", *photos, "vision_labels", "params:vision"],
                ["encoder", "encoder_report"],
            ),
            node(predict_photos, ["encoder", *photos], "vision_predictions"),
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
            ),
            node(
                select_abstention,
                ["vision_predictions", "product_predictions", "products", MEASURED],
                "abstention",
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
            ),
            node(log_vision_metrics, "vision_metrics", None),
            node(
                report_leakage,
                ["vision_features", "products", "splits", "params:vision", MEASURED],
                "leakage_report",
            ),
            node(plot_photo_confusion, ["vision_predictions", "products"], "photo_confusion"),
            node(plot_product_confusion, ["product_predictions", "products"], "product_confusion"),
            node(
                plot_reliability_diagram,
                ["vision_predictions", "products", "calibration", MEASURED],
                "reliability_diagram",
            ),
            node(
                plot_mistakes,
                ["vision_predictions", "images", "products", MEASURED],
                "mistakes_sheet",
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
            ),
        ]
    )
