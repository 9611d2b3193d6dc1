"""Indexing: index of photo embeddings, and evaluation of photo retrieval."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.indexing.build_index import build_image_index, select_image_index
from fb_marketplace.pipelines.indexing.evaluate_retrieval import (
    evaluate_served_index,
    evaluate_within_split,
)
from fb_marketplace.pipelines.indexing.figures import plot_hits
from fb_marketplace.pipelines.indexing.summarize import summarize_retrieval


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return Pipeline(
        [
            node(
                select_image_index,
                ["image_embeddings", "params:indexing"],
                "image_index_selection",
                name="select_image_index",
                tags="fit",
            ),
            node(
                build_image_index,
                ["image_embeddings", "image_products", "image_index_selection", "params:indexing"],
                ["image_index", "image_index_ids", "index_card"],
                name="build_image_index",
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
                    "params:retrieval",
                ],
                ["retrieval_hits", "retrieval_full_gallery"],
                name="evaluate_served_index",
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
                "retrieval_within_split",
                name="evaluate_within_split",
                tags="fit",
            ),
            node(
                summarize_retrieval,
                ["retrieval_full_gallery", "retrieval_within_split", "params:retrieval"],
                ["retrieval_metrics", "retrieval_by_category"],
                name="summarize_retrieval",
            ),
            node(
                plot_hits,
                ["retrieval_hits", "retrieval_full_gallery", "images", "params:retrieval"],
                "retrieval_grid",
                name="plot_hits",
                tags="report",
            ),
        ],
        namespace="indexing",
        prefix_datasets_with_namespace=False,
    )
