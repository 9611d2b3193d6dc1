"""What cleaning found and what became of it: the report, and pictures to look at."""

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
"""The columns of ``images`` that two places agree on if they hold the same bucket; the photo by digest."""


def compute_content_digests(
    products: pd.DataFrame,
    images: Table,
    duplicate_groups: pd.DataFrame,
    splits: pd.DataFrame,
    quarantine: pd.DataFrame,
) -> dict[str, str]:
    """Give a digest of each table's content; two places that hold the same bucket agree on it."""
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
    photo_files: pd.DataFrame,
    products: pd.DataFrame,
    matched_photos: pd.DataFrame,
    images: Table,
    duplicate_groups: pd.DataFrame,
    splits: pd.DataFrame,
    quarantine: pd.DataFrame,
    content_digests: dict[str, str],
) -> dict[str, Any]:
    """Account for both tables and the files, and say what was found.

    Raises:
        AssertionError: rows in are not rows kept and rows quarantined.
    """
    photos = images.read(["image_id", "format"]).to_pandas()
    rows = matched_photos[matched_photos["image_id"].isin(photos["image_id"])]
    folded = int(products["repeats"].sum()), int(rows["repeats"].sum())
    groups = duplicate_groups["group"].value_counts()
    return {
        "ledger": {
            "products": check_accounting(
                "products", len(raw_products), len(products) + folded[0], folded[0], quarantine
            ),
            "images": check_accounting(
                "images", len(raw_images), len(photos) + folded[1], folded[1], quarantine
            ),
            "files": check_accounting("files", len(photo_files), len(photos), 0, quarantine),
        },
        "flags": {
            **{
                f"price_{flag}": int(n) for flag, n in products["price_flag"].value_counts().items()
            },
            "repeated_row": int((products["repeats"] > 0).sum()),
            "copy": int(products["copy_of"].notna().sum()),
            "no_photo": int((products["photos"] == 0).sum()),
            "odd_category_depth": int(products["odd_category_depth"].sum()),
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
    """Show canonical photos, spread evenly over the table; a PNG."""
    order = images.order("image_id")
    chosen = order[:: max(1, len(order) // GRID_PHOTOS)][:GRID_PHOTOS]
    shown = images.take(chosen.tolist(), ["image_id", "jpeg", "format", "width", "height"])
    cells = [
        Cell(photo["jpeg"], f"{photo['format']} {photo['width']} × {photo['height']}")
        for photo in shown.to_pylist()
    ]
    return contact_sheet(cells, 8, f"{len(cells)} of {len(order):,} photos, as they are stored")


def plot_quarantine_grid(rejected_photos: Table) -> bytes:
    """Show the beginning of files that could not be used, with the reason; a PNG."""
    found = rejected_photos.read(["image_id", "reason"]).to_pylist()
    order = sorted(
        range(len(found)), key=lambda row: (found[row]["reason"], found[row]["image_id"])
    )
    rows = order[:: max(1, len(order) // GRID_PHOTOS)][:GRID_PHOTOS]
    heads = rejected_photos.take(rows, ["head"]).column("head").to_pylist()
    cells = [Cell(head, found[row]["reason"]) for row, head in zip(rows, heads, strict=True)]
    return contact_sheet(cells, 8, f"{len(cells)} of {len(found):,} files in quarantine")


def plot_category_histogram(products: pd.DataFrame) -> bytes:
    """Show how many listings each root category has; a PNG."""
    counts = products["category"].value_counts()
    names = [str(name) for name in counts.index]
    return plot_bars(names, counts.to_list(), f"{len(products):,} listings by category", "listings")


def plot_price_histogram(products: pd.DataFrame) -> bytes:
    """Show how prices that are meant are spread; a PNG."""
    meant = products[products["price_flag"].isna()]
    currency = str(meant["currency"].iloc[0]) if len(meant) else ""
    title = (
        f"Prices of {len(meant):,} listings; {len(products) - len(meant):,} flagged ones left out"
    )
    return plot_log_histogram(meant["price"].to_list(), title, currency)
