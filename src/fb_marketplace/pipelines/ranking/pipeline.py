"""Ranking: a ranker over all candidate sources, trained and evaluated."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.ranking.click_log import read_feedback
from fb_marketplace.pipelines.ranking.console import say_how_well_it_ranks
from fb_marketplace.pipelines.ranking.evaluation_corpus import open_market
from fb_marketplace.pipelines.ranking.train_ranker import measure_ranking, train_ranker


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline(
        [
            node(
                open_market,
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
                measure_ranking,
                ["market", "ranker", "params:word_index", "params:ranking_measures"],
                ["ranking_searches", "ranking_metrics"],
            ),
            node(say_how_well_it_ranks, "ranking_metrics", None),
        ]
    )
