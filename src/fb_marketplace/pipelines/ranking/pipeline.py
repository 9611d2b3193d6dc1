"""Ranking: a ranker over all candidate sources, trained and evaluated."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.ranking.click_log import read_feedback
from fb_marketplace.pipelines.ranking.console import log_ranking_metrics
from fb_marketplace.pipelines.ranking.evaluation_corpus import load_evaluation_corpus
from fb_marketplace.pipelines.ranking.train_ranker import evaluate_ranking, train_ranker


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline(
        [
            node(
                load_evaluation_corpus,
                [
                    "products",
                    "splits",
                    "duplicate_groups",
                    "image_embeddings",
                    "image_products",
                    "picture_index",
                    "picture_index_ids",
                    "text_embeddings",
                    "text_encoder",
                    "text_tokenizer",
                    "listings",
                    "listing_facts",
                    "vision_labels",
                ],
                "market",
            ),
            node(read_feedback, ["raw_feedback", "forgotten"], "feedback"),
            node(
                train_ranker,
                ["market", "params:word_index", "feedback", "params:ranker"],
                ["ranker", "ranker_card"],
            ),
            node(
                evaluate_ranking,
                ["market", "ranker", "params:word_index", "params:ranking_measures"],
                ["ranking_searches", "ranking_metrics"],
            ),
            node(log_ranking_metrics, "ranking_metrics", None),
        ]
    )
