"""Cleaning: the bucket as it is, to tables and photos that can be trusted."""

from kedro.pipeline import Pipeline, node

from fb_marketplace.pipelines.cleaning.duplicates import find_duplicates
from fb_marketplace.pipelines.cleaning.images import (
    clean_image_rows,
    list_photo_files,
    match_photos_to_rows,
)
from fb_marketplace.pipelines.cleaning.photos import (
    image_product_ids,
    quarantine_unusable_photos,
    read_photos,
)
from fb_marketplace.pipelines.cleaning.products import add_photo_counts, clean_products
from fb_marketplace.pipelines.cleaning.quarantine import merge_quarantine
from fb_marketplace.pipelines.cleaning.report import (
    compute_content_digests,
    plot_category_histogram,
    plot_photo_grid,
    plot_price_histogram,
    plot_quarantine_grid,
    report_cleaning,
)
from fb_marketplace.pipelines.cleaning.source_manifest import record_sources
from fb_marketplace.pipelines.cleaning.splits import split_listings


def create_pipeline() -> Pipeline:
    """Wire the stage."""
    return Pipeline(
        [
            node(
                record_sources,
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
                list_photo_files,
                ["raw_image_files", "quarantined_image_rows", "forgotten"],
                "photo_files",
            ),
            node(
                match_photos_to_rows,
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
                quarantine_unusable_photos,
                ["matched_photos", "unusable_photos", "params:cleaning"],
                "quarantined_photos",
            ),
            node(
                merge_quarantine,
                [
                    "quarantined_products",
                    "quarantined_image_rows",
                    "unmatched",
                    "quarantined_photos",
                ],
                "quarantine",
            ),
            node(image_product_ids, "images", "image_products"),
            node(add_photo_counts, ["cleaned_products", "image_products"], "products"),
            node(
                find_duplicates,
                ["images", "matched_photos", "params:duplicates"],
                "duplicate_groups",
            ),
            node(
                split_listings,
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
                compute_content_digests,
                ["products", "images", "duplicate_groups", "splits", "quarantine"],
                "content_digests",
            ),
            node(
                report_cleaning,
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
            node(plot_photo_grid, "images", "photo_sheet"),
            node(plot_quarantine_grid, "unusable_photos", "quarantine_sheet"),
            node(plot_category_histogram, "products", "category_histogram"),
            node(plot_price_histogram, "products", "price_histogram"),
        ]
    )
