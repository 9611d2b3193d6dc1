"""Embeddings: a vector for each photo, through the served encoder."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.embeddings.embed_images import embed, name_vectors, report


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline(
        [
            node(name_vectors, ["images", "encoder", "image_embeddings_held"], "embedding_keys"),
            node(
                embed,
                ["images", "encoder", "embedding_keys", "params:embeddings"],
                "image_embeddings",
            ),
            node(report, ["embedding_keys", "image_embeddings"], "embeddings_report"),
        ]
    )
