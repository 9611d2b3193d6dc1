"""Ranking: a ranker over all candidate sources, trained and evaluated."""

from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node

from fb_marketplace.pipelines.ranking.click_log import count_clicks, read_feedback
from fb_marketplace.pipelines.ranking.evaluation_corpus import load_evaluation_corpus
from fb_marketplace.pipelines.ranking.served.clicks import evaluate_clicks
from fb_marketplace.pipelines.ranking.served.figures import plot_threshold
from fb_marketplace.pipelines.ranking.train_ranker import evaluate_ranking, train_ranker
from fb_marketplace.pipelines.ranking.train_relevance import train_relevance
from fb_marketplace.pipelines.ranking.tuning import prepare_ranker_objective


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return Pipeline(
        [
            _corpus_node(),
            node(read_feedback, ["raw_feedback", "erasure_list"], "feedback", name="read_feedback"),
            node(
                count_clicks,
                ["feedback", "splits", "params:ranker"],
                "click_level",
                name="count_clicks",
            ),
            node(
                train_ranker,
                ["ranking_corpus", "params:bm25", "feedback", "params:ranker", "click_level"],
                ["ranker", "ranker_without_composed", "ranker_card"],
                name="train_ranker",
                tags=["train", "fit"],
            ),
            node(
                train_relevance,
                ["ranking_corpus", "params:bm25", "params:relevance"],
                ["relevance_model", "relevance_card"],
                name="train_relevance",
                tags=["train", "fit"],
            ),
            node(plot_threshold, "relevance_card", "threshold_chart", name="plot_threshold"),
            node(
                evaluate_ranking,
                [
                    "ranking_corpus",
                    "ranker",
                    "ranker_without_composed",
                    "relevance_model",
                    "params:bm25",
                    "params:ranking_evaluation",
                    "params:relevance",
                ],
                ["ranking_query_metrics", "ranking_metrics"],
                name="evaluate_ranking",
            ),
            node(
                evaluate_clicks,
                [
                    "ranking_corpus",
                    "ranker",
                    "feedback",
                    "params:bm25",
                    "params:ranker",
                    "params:ranking_evaluation",
                ],
                "click_metrics",
                name="evaluate_clicks",
            ),
        ],
        namespace="ranking",
        prefix_datasets_with_namespace=False,
    )


def create_tuning_pipeline() -> Pipeline:
    """Build the objective of the pipeline ``tune``."""
    return Pipeline(
        [
            _corpus_node(),
            node(
                prepare_ranker_objective,
                ["ranking_corpus", "params:bm25", "feedback", "params:ranker"],
                "ranker_objective",
                name="prepare_ranker_objective",
            ),
        ],
        namespace="ranking",
        prefix_datasets_with_namespace=False,
    )


def _corpus_node() -> Node:
    return node(
        load_evaluation_corpus,
        [
            "products",
            "splits",
            "duplicate_groups",
            "image_embeddings",
            "image_products",
            "text_to_image_index",
            "text_to_image_index_ids",
            "text_embeddings",
            "text_encoder",
            "text_tokenizer",
            "dual_text_encoder",
            "dual_tokenizer",
            "listings",
            "listing_features",
            "vision_labels",
            "word_index",
            "gazetteer",
        ],
        "ranking_corpus",
        name="load_evaluation_corpus",
        tags="train",
    )
