"""Indexing: the vectors made searchable, and the search measured."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.indexing.build_index import build_index
from fb_marketplace.pipelines.indexing.console import say_how_well_it_finds
from fb_marketplace.pipelines.indexing.evaluate_retrieval import ask_alone, ask_served
from fb_marketplace.pipelines.indexing.figures import draw_hits
from fb_marketplace.pipelines.indexing.summarize import measure_retrieval


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
                ask_served,
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
                ask_alone,
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
                measure_retrieval,
                ["retrieval_served", "retrieval_alone", "params:retrieval"],
                ["retrieval_metrics", "retrieval_by_category"],
            ),
            node(say_how_well_it_finds, "retrieval_metrics", None),
            node(
                draw_hits,
                ["retrieval_hits", "retrieval_served", "images", "params:retrieval"],
                "retrieval_sheet",
            ),
        ]
    )
