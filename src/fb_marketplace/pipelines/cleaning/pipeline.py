"""Cleaning: the bucket as it is, to tables and photos that can be trusted."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.cleaning.duplicates import find_duplicates
from fb_marketplace.pipelines.cleaning.images import clean_image_rows, list_files, match_files
from fb_marketplace.pipelines.cleaning.photos import (
    image_products,
    ledger_of_unusable,
    read_photos,
)
from fb_marketplace.pipelines.cleaning.products import clean_products, count_photos
from fb_marketplace.pipelines.cleaning.quarantine import merge_ledgers
from fb_marketplace.pipelines.cleaning.report import (
    digest_content,
    draw_category_histogram,
    draw_photo_sheet,
    draw_price_histogram,
    draw_quarantine_sheet,
    report,
)
from fb_marketplace.pipelines.cleaning.source_manifest import describe_sources
from fb_marketplace.pipelines.cleaning.splits import split


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline(
        [
            node(
                describe_sources,
                ["raw_products_file", "raw_images_file", "raw_image_files"],
                "raw_sources",
            ),
            node(
                clean_products,
                ["raw_products", "params:cleaning", "forgotten"],
                ["cleaned_products", "quarantined_products"],
            ),
            node(
                clean_image_rows,
                [
                    "raw_images",
                    "cleaned_products",
                    "quarantined_products",
                    "params:cleaning",
                    "forgotten",
                ],
                ["cleaned_image_rows", "quarantined_image_rows"],
            ),
            node(
                list_files,
                ["raw_image_files", "quarantined_image_rows", "forgotten"],
                "photo_files",
            ),
            node(
                match_files,
                ["cleaned_image_rows", "quarantined_image_rows", "photo_files", "params:cleaning"],
                ["matched_photos", "unmatched"],
            ),
            node(
                read_photos,
                [
                    "matched_photos",
                    "raw_image_files",
                    "images_held",
                    "unusable_photos_held",
                    "params:cleaning",
                ],
                ["images", "unusable_photos"],
            ),
            node(
                ledger_of_unusable,
                ["matched_photos", "unusable_photos", "params:cleaning"],
                "quarantined_photos",
            ),
            node(
                merge_ledgers,
                [
                    "quarantined_products",
                    "quarantined_image_rows",
                    "unmatched",
                    "quarantined_photos",
                ],
                "quarantine",
            ),
            node(image_products, "images", "image_products"),
            node(count_photos, ["cleaned_products", "image_products"], "products"),
            node(
                find_duplicates,
                ["images", "matched_photos", "params:duplicates"],
                "duplicate_groups",
            ),
            node(
                split,
                [
                    "products",
                    "image_products",
                    "duplicate_groups",
                    "previous_splits",
                    "params:splits",
                ],
                "splits",
            ),
            node(
                digest_content,
                ["products", "images", "duplicate_groups", "splits", "quarantine"],
                "content_digests",
            ),
            node(
                report,
                [
                    "raw_products",
                    "raw_images",
                    "photo_files",
                    "products",
                    "matched_photos",
                    "images",
                    "duplicate_groups",
                    "splits",
                    "quarantine",
                    "content_digests",
                ],
                "cleaning_report",
            ),
            node(draw_photo_sheet, "images", "photo_sheet"),
            node(draw_quarantine_sheet, "unusable_photos", "quarantine_sheet"),
            node(draw_category_histogram, "products", "category_histogram"),
            node(draw_price_histogram, "products", "price_histogram"),
        ]
    )
