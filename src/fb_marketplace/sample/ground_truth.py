"""What is wrong with a marketplace, and what is merely odd: the answers for its cleaning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from fb_marketplace.sample.faults.text import EMOJI
from fb_marketplace.sample.records import Listing, Photo

_PRODUCT_FLAGS = ("price_zero", "price_joke", "price_absurd", "repeated_row", "copy")
_FORMS = ("alpha", "greyscale", "cmyk", "palette", "exif_turned", "twelve_megapixel")
_PNG_FORMS = ("png", "alpha", "palette")


def ground_truth(
    listings: Sequence[Listing], photos: Sequence[Photo], orphans: Sequence[Photo]
) -> dict[str, Any]:
    """Every planted instance of everything.

    Args:
        listings: rows of Products.csv, in order, repeats included.
        photos: rows of Images.csv, in order, repeats included.
        orphans: photos with a file and no row.

    Returns:
        A tree that JSON can hold: counts, quarantine, flags, duplicates and kinds.
    """
    sellers = _once(listings)
    pictures = _once(photos)
    kept = [listing for listing in sellers if listing.fault is None]
    shown = {id(photo.listing) for photo in pictures if image_row_fault(photo) is None}
    flags = {
        flag: [listing.product.id for listing in kept if listing.flag == flag]
        for flag in _PRODUCT_FLAGS
    }
    flags["no_photo"] = [listing.product.id for listing in kept if id(listing) not in shown]
    flags["repeated_image_row"] = [photo.id for photo in pictures if photo.repeated]
    return {
        "counts": {
            "products_rows": len(listings),
            "images_rows": len(photos),
            "files": sum(photo.row_fault != "missing_file" for photo in pictures) + len(orphans),
        },
        "quarantine": {
            "products": [
                {"row": row, "id": listing.fields["id"], "reason": listing.fault}
                for row, listing in enumerate(listings)
                if listing.fault is not None
            ],
            "images": [
                {
                    "row": row,
                    "id": "" if photo.row_fault == "missing_id" else photo.id,
                    "reason": fault,
                }
                for row, photo in enumerate(photos)
                if (fault := image_row_fault(photo)) is not None
            ],
            "files": [
                {"key": photo.key, "reason": fault}
                for photo in (*pictures, *orphans)
                if (fault := file_fault(photo)) is not None
            ],
        },
        "flags": flags,
        "duplicates": {"exact": _exact_groups(pictures), "near": _near_pairs(pictures)},
        "kinds": {
            "carriage_return": [
                listing.product.id
                for listing in kept
                if "\r" in listing.fields["product_description"]
            ],
            "emoji": [listing.product.id for listing in kept if _has_emoji(listing)],
            "png_behind_jpg": [photo.id for photo in pictures if photo.form in _PNG_FORMS],
            **{form: [photo.id for photo in pictures if photo.form == form] for form in _FORMS},
        },
    }


def image_row_fault(photo: Photo) -> str | None:
    """Why a photo's row is turned away, or None where it is kept."""
    if photo.row_fault in {"missing_id", "missing_product"}:
        return "missing_field"
    if photo.row_fault is not None:
        return photo.row_fault
    if photo.listing.fault is not None:
        return "quarantined_product" if photo.listing.fields["id"] else "unknown_product"
    return None if photo.file_fault is None else "unusable_file"


def file_fault(photo: Photo) -> str | None:
    """Why a photo's file is turned away, or None where it is kept or was never there."""
    if photo.row_fault in {"no_row", "missing_id"}:
        return "no_row"
    if photo.row_fault == "missing_file":
        return None
    if photo.file_fault is not None:
        return photo.file_fault
    return None if image_row_fault(photo) is None else "row_quarantined"


def _once(records: Sequence[Any]) -> list[Any]:
    return list({id(record): record for record in records}.values())


def _has_emoji(listing: Listing) -> bool:
    text = listing.fields["product_name"] + listing.fields["product_description"]
    return any(emoji in text for emoji in EMOJI)


def _exact_groups(photos: Sequence[Photo]) -> list[list[str]]:
    copies: dict[str, list[str]] = defaultdict(list)
    for photo in photos:
        if photo.source is not None and photo.edit is None:
            copies[photo.source.id].append(photo.id)
    return [[source, *others] for source, others in copies.items()]


def _near_pairs(photos: Sequence[Photo]) -> list[dict[str, Any]]:
    return [
        {"ids": [photo.source.id, photo.id], "how": photo.edit}
        for photo in photos
        if photo.source is not None and photo.edit is not None
    ]
