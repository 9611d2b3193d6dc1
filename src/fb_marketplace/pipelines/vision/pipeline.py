"""Vision: trains on photos, and exports the served encoder."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.vision.export.backbone_features import extract_backbone_features
from fb_marketplace.pipelines.vision.export.block_features import extract_block_features
from fb_marketplace.pipelines.vision.export.dual_encoder import (
    export_dual_encoder,
    extract_dual_embeddings,
)
from fb_marketplace.pipelines.vision.export.encoder_selection import (
    calibrate_encoder,
    export_encoder,
    quantize_encoder,
    select_encoder,
)
from fb_marketplace.pipelines.vision.export.external_encoder import select_external_weight
from fb_marketplace.pipelines.vision.training.learning_curves import (
    plot_embedding_curve,
    plot_learning_curves,
    write_events,
)
from fb_marketplace.pipelines.vision.training.train import (
    predict_from_frozen_features,
    train_linear_probe,
    train_network,
)
from fb_marketplace.pipelines.vision.training.train_embedding import (
    embed_layers,
    train_embedding_head,
    train_hidden_layer,
)
from fb_marketplace.pipelines.vision.training.tuning import (
    prepare_embedding_objective,
    prepare_head_objective,
)


def create_pipeline() -> Pipeline:
    """Build the training and the export of the encoders."""
    return Pipeline(
        [
            create_training_pipeline(),
            create_embedding_pipeline(),
            create_export_pipeline(),
            create_dual_encoder_pipeline(),
        ],
        namespace="vision",
        prefix_datasets_with_namespace=False,
    )


def create_comparison_pipeline() -> Pipeline:
    """Build the embeddings that the evaluation of photo retrieval compares."""
    return Pipeline(
        [
            node(
                embed_layers,
                [
                    "block_features",
                    "product_categories",
                    "splits",
                    "vision_model",
                    "hidden_layer",
                    "vision_labels",
                    "params:vision",
                ],
                "layer_embeddings",
                name="embed_layers",
            ),
        ],
        namespace="indexing",
        prefix_datasets_with_namespace=False,
    )


def create_tuning_pipeline() -> Pipeline:
    """Build the objectives of the pipeline ``tune``."""
    return Pipeline(
        [
            node(
                prepare_head_objective,
                ["vision_features", "product_labels", "splits", "params:vision"],
                "head_objective",
                name="prepare_head_objective",
            ),
            node(
                prepare_embedding_objective,
                ["block_features", "product_categories", "splits", "params:vision"],
                "embedding_objective",
                name="prepare_embedding_objective",
            ),
        ],
        namespace="vision",
        prefix_datasets_with_namespace=False,
    )


def create_training_pipeline() -> Pipeline:
    """Build the training of the classifier."""
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
                ["vision_features", "product_labels", "splits", "params:vision"],
                ["vision_head", "head_history", "frozen_head", "vision_labels"],
                name="train_linear_probe",
                tags=["train", "fit"],
            ),
            node(
                predict_from_frozen_features,
                ["vision_features", "product_labels", "splits", "frozen_head", "params:vision"],
                "frozen_predictions",
                name="predict_from_frozen_features",
            ),
            node(
                train_network,
                [
                    "images",
                    "product_labels",
                    "splits",
                    "vision_head",
                    "head_history",
                    "vision_work",
                    "params:vision",
                ],
                [
                    "checkpoints",
                    "vision_model",
                    "vision_model_last_epoch",
                    "training_history",
                    "training_listings",
                ],
                name="train_network",
                tags=["train", "fit"],
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


def create_embedding_pipeline() -> Pipeline:
    """Build the training of the embedding head."""
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
                ["block_features", "product_categories", "splits", "vision_model", "params:vision"],
                ["embedding_head", "embedding_history"],
                name="train_embedding_head",
                tags=["train", "fit"],
            ),
            node(
                plot_embedding_curve,
                "embedding_history",
                "embedding_curve",
                name="plot_embedding_curve",
                tags="report",
            ),
            node(
                train_hidden_layer,
                [
                    "block_features",
                    "product_labels",
                    "splits",
                    "vision_model",
                    "vision_labels",
                    "params:vision",
                ],
                "hidden_layer",
                name="train_hidden_layer",
                tags=["train", "fit"],
            ),
        ]
    )


def create_export_pipeline() -> Pipeline:
    """Build calibration, export and quantization."""
    photos = ["images", "product_labels", "splits"]
    return Pipeline(
        [
            node(
                calibrate_encoder,
                [
                    "block_features",
                    "product_labels",
                    "splits",
                    "vision_model",
                    "vision_labels",
                    "params:vision",
                ],
                "calibration",
                name="calibrate_encoder",
                tags="fit",
            ),
            node(
                export_encoder,
                ["vision_model", "vision_labels", "embedding_head", "calibration", "params:vision"],
                "encoder_fp32",
                name="export_encoder",
            ),
            node(
                quantize_encoder,
                ["encoder_fp32", "images", "product_categories", "splits", "params:vision"],
                "encoder_int8",
                name="quantize_encoder",
                tags="fit",
            ),
            node(
                select_external_weight,
                ["encoder_fp32", "images", "product_categories", "splits", "params:vision"],
                "external_encoder_selection",
                name="select_external_weight",
                tags="fit",
            ),
            node(
                select_encoder,
                [
                    "encoder_fp32",
                    "encoder_int8",
                    "embedding_head",
                    "external_encoder_selection",
                    *photos,
                    "vision_labels",
                    "params:vision",
                    "params:vision.weights_license",
                ],
                ["encoder", "encoder_report"],
                name="select_encoder",
                tags="fit",
            ),
        ]
    )


def create_dual_encoder_pipeline() -> Pipeline:
    """Build the export of the dual encoder, and its vectors of photos; skipped if none is configured."""
    return Pipeline(
        [
            node(
                export_dual_encoder,
                "params:search",
                [
                    "dual_image_encoder",
                    "dual_text_encoder_fp32",
                    "dual_tokenizer",
                    "dual_encoder_report",
                ],
                name="export_dual_encoder",
            ),
            node(
                extract_dual_embeddings,
                ["images", "dual_image_encoder", "dual_image_embeddings_existing_keys"],
                "dual_image_embeddings",
                name="extract_dual_embeddings",
                tags="encode",
            ),
        ]
    )
