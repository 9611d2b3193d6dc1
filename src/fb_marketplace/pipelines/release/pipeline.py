"""Release: pack photos, evaluate the gate, build the manifest and publish it."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.release.build_manifest import build_manifest
from fb_marketplace.pipelines.release.build_vector_tables import build_vector_tables
from fb_marketplace.pipelines.release.case_metrics import collect_case_metrics
from fb_marketplace.pipelines.release.gate import enforce_gate, evaluate_gate
from fb_marketplace.pipelines.release.pack_photos import (
    pack_display_photos,
    pack_photos,
    write_release_photo_files,
)
from fb_marketplace.pipelines.release.provenance import build_provenance


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return Pipeline(
        [
            node(
                build_provenance,
                [
                    "products",
                    "images",
                    "cleaned_image_rows",
                    "matched_photos",
                    "duplicate_groups",
                    "splits",
                    "quarantine",
                    "source_manifest",
                ],
                "provenance",
                name="build_provenance",
            ),
            node(pack_photos, "images", "release_photos", name="pack_photos"),
            node(
                pack_display_photos,
                "display_photos",
                "release_display_photos",
                name="pack_display_photos",
            ),
            node(
                write_release_photo_files,
                [
                    "images",
                    "release_photos",
                    "display_photos",
                    "release_display_photos",
                    "release_photo_files_existing_sizes",
                ],
                "release_photo_files",
                name="write_release_photo_files",
            ),
            node(
                collect_case_metrics,
                [
                    "vision_predictions",
                    "product_predictions",
                    "retrieval_full_gallery",
                    "ranking_query_metrics",
                    "vision_labels",
                ],
                "release_measures",
                name="collect_case_metrics",
            ),
            node(
                evaluate_gate,
                ["release_measures", "current_release", "params:release"],
                "gate_report",
                name="evaluate_gate",
            ),
            node(
                enforce_gate,
                ["gate_report", "rejection_report"],
                "gate_verdict",
                name="enforce_gate",
            ),
            node(
                build_vector_tables,
                ["image_index", "text_index", "text_to_image_index", "params:search"],
                "vector_tables",
                name="build_vector_tables",
            ),
            node(
                build_manifest,
                [
                    "lake",
                    "encoder",
                    "encoder_report",
                    "image_index",
                    "image_index_ids",
                    "listings",
                    "descriptions",
                    "release_photos",
                    "release_display_photos",
                    "release_photo_files",
                    "release_measures",
                    "listing_features",
                    "gazetteer",
                    "word_index",
                    "text_encoder",
                    "text_tokenizer",
                    "text_index",
                    "text_index_ids",
                    "dual_text_encoder",
                    "dual_tokenizer",
                    "dual_encoder_report",
                    "text_to_image_index",
                    "text_to_image_index_ids",
                    "ranker",
                    "relevance_model",
                    "price_insights",
                    "provenance",
                    "vector_tables",
                    "gate_verdict",
                    "abstention",
                    "vision_labels",
                    "images",
                    "content_digests",
                    "vision_metrics",
                    "retrieval_metrics",
                    "ranking_metrics",
                    "price_insight_metrics",
                    "params:release",
                ],
                "release",
                name="build_manifest",
            ),
        ],
        namespace="release",
        prefix_datasets_with_namespace=False,
    )
