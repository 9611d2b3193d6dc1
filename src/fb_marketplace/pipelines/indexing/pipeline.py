"""Indexing: the vectors made searchable, and the search measured."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.indexing.building import build_index
from fb_marketplace.pipelines.indexing.retrieval import measure_retrieval


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline(
        [
            node(
                build_index,
                ["image_embeddings", "image_products", "params:indexing"],
                ["image_index", "image_index_ids", "index_card"],
            ),
            node(
                measure_retrieval,
                [
                    "image_index",
                    "image_index_ids",
                    "image_embeddings",
                    "splits",
                    "duplicate_groups",
                    "params:indexing",
                ],
                "retrieval_metrics",
            ),
        ]
    )
