"""Report and figures of cleaning."""

from typing import Any

import pandas as pd

from fb_marketplace.evaluation.contact_sheet import Cell, contact_sheet
from fb_marketplace.evaluation.plots import plot_bars, plot_log_histogram
from fb_marketplace.pipelines.cleaning.quarantine import check_accounting
from fb_marketplace.storage.fingerprints import content_digest
from fb_marketplace.storage.keyed_table import Table

GRID_PHOTOS = 40
PHOTO_CONTENT = (
    "image_id",
    "product_id",
    "source_key",
    "source_size",
    "source_sha256",
    "format",
    "width",
    "height",
    "sha256",
    "perceptual_hash",
)
"""Columns of ``images`` that depend only on the raw data; ``sha256`` represents the photo."""


def compute_content_digests(
    products: pd.DataFrame,
    images: Table,
    duplicate_groups: pd.DataFrame,
    splits: pd.DataFrame,
    quarantine: pd.DataFrame,
) -> dict[str, str]:
    """Return a digest of each table's content. Lakes made from the same raw data have equal digests."""
    photos = images.read(PHOTO_CONTENT).to_pandas()
    return {
        "products": content_digest(products, "product_id"),
        "images": content_digest(photos, "image_id"),
        "duplicate_groups": content_digest(duplicate_groups, "image_id"),
        "splits": content_digest(splits, ["product_id", "image_id"]),
        "quarantine": content_digest(quarantine, ["stage", "row", "key"]),
    }


def report_cleaning(
    raw_products: pd.DataFrame,
    raw_images: pd.DataFrame,
    photo_listing: pd.DataFrame,
    products: pd.DataFrame,
    matched_photos: pd.DataFrame,
    images: Table,
    duplicate_groups: pd.DataFrame,
    splits: pd.DataFrame,
    quarantine: pd.DataFrame,
    content_digests: dict[str, str],
) -> dict[str, Any]:
    """Return counts of accepted and quarantined rows, flags, photo formats, duplicates and splits.

    Raises:
        AssertionError: a row or file is neither accepted nor in quarantine, or is both.
    """
    photos = images.read(["image_id", "format"]).to_pandas()
    rows = matched_photos[matched_photos["image_id"].isin(photos["image_id"])]
    repeats = int(products["repeats"].sum()), int(rows["repeats"].sum())
    groups = duplicate_groups["group"].value_counts()
    return {
        "ledger": {
            "products": check_accounting(
                "products", len(raw_products), len(products) + repeats[0], repeats[0], quarantine
            ),
            "images": check_accounting(
                "images", len(raw_images), len(photos) + repeats[1], repeats[1], quarantine
            ),
            "files": check_accounting("files", len(photo_listing), len(photos), 0, quarantine),
        },
        "flags": {
            **{
                f"price_{flag}": int(n) for flag, n in products["price_flag"].value_counts().items()
            },
            "repeated_row": int((products["repeats"] > 0).sum()),
            "copy": int(products["copy_of"].notna().sum()),
            "no_photo": int((products["photos"] == 0).sum()),
            "no_date": int(products["created_at"].isna().sum()),
            **{f"date_{flag}": int(n) for flag, n in products["date_flag"].value_counts().items()},
            "odd_category_depth": int(products["odd_category_depth"].sum()),
            "respelled_category": int(products["respelled_category"].sum()),
        },
        "photos": {str(name): int(n) for name, n in photos["format"].value_counts().items()},
        "duplicates": {
            "photos": len(duplicate_groups),
            "groups": len(groups),
            "largest_group": int(groups.max()) if len(groups) else 0,
            **{str(kind): int(n) for kind, n in duplicate_groups["kind"].value_counts().items()},
        },
        "splits": {
            str(name): {
                "groups": int(part["group"].nunique()),
                "products": int(part["product_id"].nunique()),
                "photos": int(part["image_id"].notna().sum()),
            }
            for name, part in splits.groupby("split")
        },
        "digests": content_digests,
    }


def plot_photo_grid(images: Table) -> bytes:
    """Plot a grid of canonical photos, sampled evenly in the order of ids, as PNG."""
    order = images.order("image_id")
    chosen = order[:: max(1, len(order) // GRID_PHOTOS)][:GRID_PHOTOS]
    photos = images.take(chosen.tolist(), ["image_id", "jpeg", "format", "width", "height"])
    cells = [
        Cell(photo["jpeg"], f"{photo['format']} {photo['width']} × {photo['height']}")
        for photo in photos.to_pylist()
    ]
    return contact_sheet(cells, 8, f"{len(cells)} of {len(order):,} photos, as they are stored")


def plot_quarantine_grid(rejected_photos: Table) -> bytes:
    """Plot a grid of unusable files, as far as they can be decoded, with the reasons, as PNG."""
    rejected = rejected_photos.read(["image_id", "reason"]).to_pylist()
    order = sorted(
        range(len(rejected)), key=lambda row: (rejected[row]["reason"], rejected[row]["image_id"])
    )
    rows = order[:: max(1, len(order) // GRID_PHOTOS)][:GRID_PHOTOS]
    heads = rejected_photos.take(rows, ["head"]).column("head").to_pylist()
    cells = [Cell(head, rejected[row]["reason"]) for row, head in zip(rows, heads, strict=True)]
    return contact_sheet(cells, 8, f"{len(cells)} of {len(rejected):,} files in quarantine")


def plot_category_histogram(products: pd.DataFrame) -> bytes:
    """Plot the number of listings per root category, as PNG."""
    counts = products["category"].value_counts()
    names = [str(name) for name in counts.index]
    return plot_bars(names, counts.to_list(), f"{len(products):,} listings by category", "listings")


def plot_price_histogram(products: pd.DataFrame) -> bytes:
    """Plot a histogram of the prices without a flag, as PNG."""
    offers = products[products["price_flag"].isna()]
    currency = str(offers["currency"].iloc[0]) if len(offers) else ""
    flagged = len(products) - len(offers)
    title = f"Prices of {len(offers):,} listings; {flagged:,} flagged ones left out"
    return plot_log_histogram(offers["price"].to_list(), title, currency)
