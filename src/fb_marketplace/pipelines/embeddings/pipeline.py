"""Embeddings: one vector per photo, computed by the served encoder."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.embeddings.embed_images import (
    embed_images,
    plan_image_embeddings,
    report_embeddings,
)
from fb_marketplace.pipelines.embeddings.export import export_embeddings_json


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return Pipeline(
        [
            node(
                plan_image_embeddings,
                ["images", "encoder", "image_embeddings_existing_keys"],
                "embedding_keys",
                name="plan_image_embeddings",
                tags="encode",
            ),
            node(
                embed_images,
                ["images", "encoder", "embedding_keys", "params:embeddings"],
                "image_embeddings",
                name="embed_images",
                tags="encode",
            ),
            node(
                report_embeddings,
                ["embedding_keys", "image_embeddings"],
                "embeddings_report",
                name="report_embeddings",
                tags="encode",
            ),
        ],
        namespace="embeddings",
        prefix_datasets_with_namespace=False,
    )


def create_export_pipeline() -> Pipeline:
    """Build the export of the last run's embeddings to JSON; ``kedro run --pipeline=embeddings_json``."""
    return Pipeline(
        [
            node(
                export_embeddings_json,
                "image_embeddings",
                "image_embeddings_json",
                name="export_embeddings_json",
            )
        ],
        namespace="embeddings",
        prefix_datasets_with_namespace=False,
    )
