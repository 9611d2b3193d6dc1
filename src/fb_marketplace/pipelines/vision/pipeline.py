"""Vision: learns categories from photos, and exports the one encoder that is served."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.vision.features import extract_features
from fb_marketplace.pipelines.vision.head import draw_learning_curves
from fb_marketplace.pipelines.vision.training import export_encoder, train


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline(
        [
            node(
                extract_features,
                ["images", "vision_features_held", "params:vision"],
                "vision_features",
            ),
            node(
                train,
                ["vision_features", "products", "splits", "content_digests", "params:vision"],
                ["vision_model", "vision_labels", "training_history", "vision_metrics"],
            ),
            node(draw_learning_curves, "training_history", "learning_curves"),
            node(export_encoder, ["vision_model", "params:vision"], "encoder"),
        ]
    )
