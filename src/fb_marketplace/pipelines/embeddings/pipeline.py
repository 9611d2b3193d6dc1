"""Embeddings: a vector for each photo, through the served encoder."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.embeddings.embed_images import (
    embed_images,
    plan_image_embeddings,
    report_embeddings,
)


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline(
        [
            node(
                plan_image_embeddings,
                ["images", "encoder", "image_embeddings_held"],
                "embedding_keys",
            ),
            node(
                embed_images,
                ["images", "encoder", "embedding_keys", "params:embeddings"],
                "image_embeddings",
            ),
            node(report_embeddings, ["embedding_keys", "image_embeddings"], "embeddings_report"),
        ]
    )
