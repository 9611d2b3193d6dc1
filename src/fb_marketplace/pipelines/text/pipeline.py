"""Text: sentence encoder, text embeddings, text indexes and the projection between texts and photos."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.text.build_bm25 import build_bm25
from fb_marketplace.pipelines.text.build_text_index import build_text_index, select_text_index
from fb_marketplace.pipelines.text.build_text_to_image_index import (
    build_text_to_image_index,
    select_text_to_image_index,
)
from fb_marketplace.pipelines.text.cross_modal_projection import train_projection
from fb_marketplace.pipelines.text.embed_texts import (
    embed_texts,
    plan_text_embeddings,
    report_text_embeddings,
)
from fb_marketplace.pipelines.text.export_text_encoder import export_text_encoder
from fb_marketplace.pipelines.text.quantization import select_dual_precision, select_precision
from fb_marketplace.pipelines.text.sentence_encoder import build_sentence_encoder


def create_embedding_pipeline() -> Pipeline:
    """Build the sentence encoder and the embeddings of texts, which the category model reads."""
    return Pipeline(
        [
            node(
                build_sentence_encoder,
                "params:text_encoder",
                ["sentence_encoder_fp32", "text_tokenizer"],
                name="build_sentence_encoder",
            ),
            node(
                select_precision,
                [
                    "sentence_encoder_fp32",
                    "text_tokenizer",
                    "products",
                    "splits",
                    "params:text_encoder",
                ],
                ["sentence_encoder", "sentence_card"],
                name="select_precision",
                tags="fit",
            ),
            node(
                plan_text_embeddings,
                ["products", "sentence_encoder", "text_tokenizer", "text_embeddings_existing_keys"],
                "text_keys",
                name="plan_text_embeddings",
                tags="encode",
            ),
            node(
                embed_texts,
                [
                    "products",
                    "sentence_encoder",
                    "text_tokenizer",
                    "text_keys",
                    "params:text_encoder",
                ],
                "text_embeddings",
                name="embed_texts",
                tags="encode",
            ),
            node(
                report_text_embeddings,
                ["text_keys", "text_embeddings"],
                "texts_report",
                name="report_text_embeddings",
                tags="encode",
            ),
        ],
        namespace="text",
        prefix_datasets_with_namespace=False,
    )


def create_pipeline() -> Pipeline:
    """Build the indexes of texts, and the projection between texts and photos."""
    return Pipeline(
        [
            node(
                select_dual_precision,
                [
                    "dual_text_encoder_fp32",
                    "dual_tokenizer",
                    "dual_image_embeddings",
                    "products",
                    "splits",
                    "params:text_encoder",
                ],
                ["dual_text_encoder", "dual_text_encoder_card"],
                name="select_dual_precision",
                tags="fit",
            ),
            node(
                select_text_index,
                ["text_embeddings", "params:text_index"],
                "text_index_selection",
                name="select_text_index",
                tags="fit",
            ),
            node(
                build_text_index,
                ["text_embeddings", "products", "text_index_selection", "params:text_index"],
                ["text_index", "text_index_ids", "text_index_card"],
                name="build_text_index",
            ),
            node(build_bm25, ["products", "params:bm25"], "word_index", name="build_bm25"),
            node(
                train_projection,
                [
                    "sentence_encoder",
                    "text_tokenizer",
                    "text_embeddings",
                    "block_features",
                    "products",
                    "splits",
                    "params:projection",
                ],
                ["text_projection", "photo_projection", "projection_ridges"],
                name="train_projection",
                tags=["train", "fit"],
            ),
            node(
                export_text_encoder,
                ["sentence_encoder", "text_projection"],
                "text_encoder",
                name="export_text_encoder",
            ),
            node(
                select_text_to_image_index,
                [
                    "block_features",
                    "photo_projection",
                    "dual_image_embeddings",
                    "params:text_index",
                ],
                "text_to_image_index_selection",
                name="select_text_to_image_index",
                tags="fit",
            ),
            node(
                build_text_to_image_index,
                [
                    "block_features",
                    "photo_projection",
                    "dual_image_embeddings",
                    "image_index_ids",
                    "text_to_image_index_selection",
                    "params:text_index",
                ],
                ["text_to_image_index", "text_to_image_index_ids", "text_to_image_index_card"],
                name="build_text_to_image_index",
            ),
        ],
        namespace="text",
        prefix_datasets_with_namespace=False,
    )
