"""Ranking: texts made searchable, words brought to pictures, and a ranker over all of it."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.ranking.feedback_reading import read_feedback
from fb_marketplace.pipelines.ranking.gazetteer import make_places
from fb_marketplace.pipelines.ranking.learning import measure_ranking, train_ranker
from fb_marketplace.pipelines.ranking.listing_facts import make_facts
from fb_marketplace.pipelines.ranking.market import open_market
from fb_marketplace.pipelines.ranking.picture_index import build_picture_index
from fb_marketplace.pipelines.ranking.precision import choose_precision
from fb_marketplace.pipelines.ranking.price_notes_making import make_price_notes
from fb_marketplace.pipelines.ranking.printed import say_how_well_it_ranks
from fb_marketplace.pipelines.ranking.projection import train_projection
from fb_marketplace.pipelines.ranking.sentence_encoder import build_sentence_encoder
from fb_marketplace.pipelines.ranking.shown_listings import make_listings
from fb_marketplace.pipelines.ranking.text_extraction import embed_texts, name_texts, report_texts
from fb_marketplace.pipelines.ranking.text_graph import join_text_encoder
from fb_marketplace.pipelines.ranking.text_index import build_text_index
from fb_marketplace.pipelines.ranking.word_index_building import build_word_index


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline(
        [
            node(
                build_sentence_encoder,
                "params:sentences",
                ["exact_sentence_encoder", "text_tokenizer"],
            ),
            node(
                choose_precision,
                [
                    "exact_sentence_encoder",
                    "text_tokenizer",
                    "products",
                    "splits",
                    "params:sentences",
                ],
                ["sentence_encoder", "sentence_card"],
            ),
            node(
                name_texts,
                ["products", "sentence_encoder", "text_tokenizer", "text_embeddings_held"],
                "text_keys",
            ),
            node(
                embed_texts,
                [
                    "products",
                    "sentence_encoder",
                    "text_tokenizer",
                    "text_keys",
                    "params:sentences",
                ],
                "text_embeddings",
            ),
            node(report_texts, ["text_keys", "text_embeddings"], "texts_report"),
            node(
                build_text_index,
                ["text_embeddings", "products", "params:text_index"],
                ["text_index", "text_index_ids", "text_index_card"],
            ),
            node(build_word_index, ["products", "params:word_index"], "word_index"),
            node(
                train_projection,
                [
                    "sentence_encoder",
                    "text_tokenizer",
                    "text_embeddings",
                    "vision_features",
                    "products",
                    "splits",
                    "params:projection",
                ],
                ["text_projection", "photo_projection", "projection_history"],
            ),
            node(join_text_encoder, ["sentence_encoder", "text_projection"], "text_encoder"),
            node(
                build_picture_index,
                ["vision_features", "photo_projection", "image_index_ids", "params:text_index"],
                ["picture_index", "picture_index_ids", "picture_index_card"],
            ),
            node(make_listings, "products", "listings"),
            node(make_places, ["products", "params:places"], "places"),
            node(
                make_facts,
                ["products", "images", "duplicate_groups", "places"],
                ["listing_facts", "facts_report"],
            ),
            node(
                make_price_notes,
                [
                    "products",
                    "splits",
                    "text_embeddings",
                    "listing_facts",
                    "images",
                    "image_products",
                    "duplicate_groups",
                    "params:price_notes",
                ],
                ["price_notes", "price_note_metrics"],
            ),
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
