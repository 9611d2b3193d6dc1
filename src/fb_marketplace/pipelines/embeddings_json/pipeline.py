"""The vectors that the last run made, as JSON; run by its name only."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.embeddings_json.export import export_embeddings_json


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline([node(export_embeddings_json, "image_embeddings", "image_embeddings_json")])
