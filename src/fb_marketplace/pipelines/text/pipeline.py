"""Text: sentence encoder, text embeddings, text indexes and the projection between texts and photos."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.text.build_bm25 import build_bm25
from fb_marketplace.pipelines.text.build_text_index import build_text_index
from fb_marketplace.pipelines.text.build_text_to_image_index import build_text_to_image_index
from fb_marketplace.pipelines.text.cross_modal_projection import train_projection
from fb_marketplace.pipelines.text.embed_texts import (
    embed_texts,
    plan_text_embeddings,
    report_text_embeddings,
)
from fb_marketplace.pipelines.text.export_text_encoder import export_text_encoder
from fb_marketplace.pipelines.text.quantization import select_precision
from fb_marketplace.pipelines.text.sentence_encoder import build_sentence_encoder


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
                select_precision,
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
                plan_text_embeddings,
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
            node(report_text_embeddings, ["text_keys", "text_embeddings"], "texts_report"),
            node(
                build_text_index,
                ["text_embeddings", "products", "params:text_index"],
                ["text_index", "text_index_ids", "text_index_card"],
            ),
            node(build_bm25, ["products", "params:word_index"], "word_index"),
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
            node(export_text_encoder, ["sentence_encoder", "text_projection"], "text_encoder"),
            node(
                build_text_to_image_index,
                ["vision_features", "photo_projection", "image_index_ids", "params:text_index"],
                ["picture_index", "picture_index_ids", "picture_index_card"],
            ),
        ]
    )
