"""Ground truth of cleaning: all planted faults and oddities."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from fb_marketplace.sample.faults.listings import EMOJI
from fb_marketplace.sample.records import Listing, Photo

_PRODUCT_FLAGS = ("price_zero", "price_joke", "price_absurd", "repeated_row", "copy")
_FORMS = ("alpha", "greyscale", "cmyk", "palette", "exif_turned", "twelve_megapixel")
_PNG_FORMS = ("png", "alpha", "palette")


def ground_truth(
    listings: Sequence[Listing], photos: Sequence[Photo], orphans: Sequence[Photo]
) -> dict[str, Any]:
    """Return all planted faults, copies and oddities.

    Args:
        listings: rows of Products.csv in order, with repeats.
        photos: rows of Images.csv in order, with repeats.
        orphans: photos with a file but no row.

    Returns:
        JSON: counts, quarantine, flags, duplicates, kinds, and the listings of each model by colour.
    """
    distinct = _without_repeats(listings)
    pictures = _without_repeats(photos)
    valid = [listing for listing in distinct if listing.fault is None]
    with_photo = {id(photo.listing) for photo in pictures if image_row_fault(photo) is None}
    flags = {
        flag: [listing.product.id for listing in valid if listing.flag == flag]
        for flag in _PRODUCT_FLAGS
    }
    flags["no_photo"] = [listing.product.id for listing in valid if id(listing) not in with_photo]
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
                for listing in valid
                if "\r" in listing.fields["product_description"]
            ],
            "emoji": [listing.product.id for listing in valid if _has_emoji(listing)],
            "png_behind_jpg": [photo.id for photo in pictures if photo.form in _PNG_FORMS],
            "placeholder": [photo.id for photo in pictures if photo.is_placeholder],
            **{form: [photo.id for photo in pictures if photo.form == form] for form in _FORMS},
        },
        "models": _models(valid),
    }


def image_row_fault(photo: Photo) -> str | None:
    """Return why a photo's row is rejected, or None if it is accepted."""
    if photo.row_fault in {"missing_id", "missing_product"}:
        return "missing_field"
    if photo.row_fault is not None:
        return photo.row_fault
    if photo.listing.fault is not None:
        return "quarantined_product" if photo.listing.fields["id"] else "unknown_product"
    return None if photo.file_fault is None else "unusable_file"


def file_fault(photo: Photo) -> str | None:
    """Return why a photo's file is rejected, or None if it is accepted or does not exist."""
    if photo.row_fault in {"no_row", "missing_id"}:
        return "no_row"
    if photo.row_fault == "missing_file":
        return None
    if photo.file_fault is not None:
        return photo.file_fault
    return None if image_row_fault(photo) is None else "row_quarantined"


def _without_repeats(records: Sequence[Any]) -> list[Any]:
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


def _models(listings: Sequence[Listing]) -> list[dict[str, str]]:
    """Return the colour of each listing, by model: the right answers to a photo "but in red"."""
    colours: dict[int, dict[str, str]] = defaultdict(dict)
    for listing in listings:
        product = listing.product
        colours[product.model.number][product.id] = product.colour
    return [colours[number] for number in sorted(colours)]


def _near_pairs(photos: Sequence[Photo]) -> list[dict[str, Any]]:
    return [
        {"ids": [photo.source.id, photo.id], "how": photo.edit}
        for photo in photos
        if photo.source is not None and photo.edit is not None
    ]
