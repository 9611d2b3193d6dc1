"""Indexing: the vectors made searchable, and the search measured."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.indexing.build_index import build_index
from fb_marketplace.pipelines.indexing.console import log_retrieval_metrics
from fb_marketplace.pipelines.indexing.evaluate_retrieval import (
    evaluate_served_index,
    evaluate_within_split,
)
from fb_marketplace.pipelines.indexing.figures import plot_hits
from fb_marketplace.pipelines.indexing.summarize import summarize_retrieval


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
                evaluate_served_index,
                [
                    "image_index",
                    "image_index_ids",
                    "image_embeddings",
                    "products",
                    "splits",
                    "duplicate_groups",
                ],
                ["retrieval_hits", "retrieval_served"],
            ),
            node(
                evaluate_within_split,
                [
                    "image_embeddings",
                    "vision_features",
                    "layer_embeddings",
                    "images",
                    "products",
                    "splits",
                    "duplicate_groups",
                    "params:retrieval",
                ],
                "retrieval_alone",
            ),
            node(
                summarize_retrieval,
                ["retrieval_served", "retrieval_alone", "params:retrieval"],
                ["retrieval_metrics", "retrieval_by_category"],
            ),
            node(log_retrieval_metrics, "retrieval_metrics", None),
            node(
                plot_hits,
                ["retrieval_hits", "retrieval_served", "images", "params:retrieval"],
                "retrieval_sheet",
            ),
        ]
    )
