"""Embeddings: a vector for each photo, through the served encoder."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.embeddings.extraction import embed


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline(
        [
            node(
                embed,
                ["images", "encoder", "image_embeddings_held", "params:embeddings"],
                "image_embeddings",
            )
        ]
    )
