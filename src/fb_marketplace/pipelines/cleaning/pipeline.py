"""The cleaning pipeline."""

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
from fb_marketplace.pipelines.cleaning.products import (
    add_photo_columns,
    clean_products,
    select_categories,
    select_labels,
)
from fb_marketplace.pipelines.cleaning.quarantine import enforce_rejection_limit, merge_quarantine
from fb_marketplace.pipelines.cleaning.report import (
    compute_content_digests,
    plot_category_histogram,
    plot_photo_grid,
    plot_price_histogram,
    plot_quarantine_grid,
    report_cleaning,
)
from fb_marketplace.pipelines.cleaning.source_manifest import record_sources
from fb_marketplace.pipelines.cleaning.splits import record_split_history, split_listings


def create_pipeline() -> Pipeline:
    """Build the pipeline."""
    return Pipeline(
        [
            node(
                record_sources,
                ["raw_products_file", "raw_images_file", "raw_image_files"],
                "source_manifest",
                name="record_sources",
            ),
            node(
                clean_products,
                ["raw_products", "params:cleaning", "erasure_list"],
                ["cleaned_products", "quarantined_products"],
                name="clean_products",
            ),
            node(
                clean_image_rows,
                [
                    "raw_images",
                    "cleaned_products",
                    "quarantined_products",
                    "params:cleaning",
                    "erasure_list",
                ],
                ["cleaned_image_rows", "quarantined_image_rows"],
                name="clean_image_rows",
            ),
            node(
                list_photo_files,
                ["raw_image_files", "quarantined_image_rows", "erasure_list"],
                "photo_listing",
                name="list_photo_files",
            ),
            node(
                match_photos_to_rows,
                [
                    "cleaned_image_rows",
                    "quarantined_image_rows",
                    "photo_listing",
                    "params:cleaning",
                ],
                ["matched_photos", "unmatched_images"],
                name="match_photos_to_rows",
            ),
            node(
                read_photos,
                [
                    "matched_photos",
                    "raw_image_files",
                    "images_existing_keys",
                    "rejected_photos_existing_keys",
                    "display_photos_existing_keys",
                    "params:cleaning",
                ],
                ["images", "rejected_photos", "display_photos"],
                name="read_photos",
            ),
            node(
                quarantine_unusable_photos,
                ["matched_photos", "rejected_photos", "params:cleaning"],
                "quarantined_photos",
                name="quarantine_unusable_photos",
            ),
            node(
                merge_quarantine,
                [
                    "quarantined_products",
                    "quarantined_image_rows",
                    "unmatched_images",
                    "quarantined_photos",
                ],
                "quarantine",
                name="merge_quarantine",
            ),
            node(image_product_ids, "images", "image_products", name="image_product_ids"),
            node(
                add_photo_columns,
                ["cleaned_products", "image_products", "cleaned_image_rows"],
                "products",
                name="add_photo_columns",
            ),
            node(select_categories, "products", "product_categories", name="select_categories"),
            node(
                select_labels,
                ["product_categories", "previous_product_labels", "params:vision"],
                "product_labels",
                name="select_labels",
            ),
            node(
                find_duplicates,
                [
                    "images",
                    "matched_photos",
                    "previous_photo_comparisons",
                    "params:duplicates",
                ],
                ["duplicate_groups", "photo_comparisons"],
                name="find_duplicates",
            ),
            node(
                split_listings,
                [
                    "products",
                    "image_products",
                    "duplicate_groups",
                    "previous_splits",
                    "previous_split_history",
                    "params:splits",
                ],
                "splits",
                name="split_listings",
            ),
            node(
                record_split_history,
                [
                    "products",
                    "image_products",
                    "duplicate_groups",
                    "splits",
                    "previous_split_history",
                    "erasure_list",
                    "params:splits",
                ],
                "split_history",
                name="record_split_history",
            ),
            node(
                compute_content_digests,
                ["products", "images", "duplicate_groups", "splits", "quarantine"],
                "content_digests",
                name="compute_content_digests",
            ),
            node(
                report_cleaning,
                [
                    "raw_products",
                    "raw_images",
                    "photo_listing",
                    "products",
                    "matched_photos",
                    "images",
                    "duplicate_groups",
                    "splits",
                    "quarantine",
                    "content_digests",
                ],
                "cleaning_report",
                name="report_cleaning",
                tags="report",
            ),
            node(
                enforce_rejection_limit,
                ["cleaning_report", "quarantine", "params:cleaning"],
                "rejection_report",
                name="enforce_rejection_limit",
            ),
            node(plot_photo_grid, "images", "photo_grid", name="plot_photo_grid", tags="report"),
            node(
                plot_quarantine_grid,
                "rejected_photos",
                "quarantine_grid",
                name="plot_quarantine_grid",
                tags="report",
            ),
            node(
                plot_category_histogram,
                "products",
                "category_histogram",
                name="plot_category_histogram",
                tags="report",
            ),
            node(
                plot_price_histogram,
                "products",
                "price_histogram",
                name="plot_price_histogram",
                tags="report",
            ),
        ],
        namespace="cleaning",
        prefix_datasets_with_namespace=False,
    )
