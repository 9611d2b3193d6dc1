"""Where each listing of a release comes from, gathered from what cleaning left."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

import pandas as pd

from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.release.provenance import (
    SOURCES,
    DuplicatePhoto,
    ListingProvenance,
    PhotoProvenance,
    RejectedPhoto,
    RejectedRow,
    Source,
    write_provenance,
)

MAX_DUPLICATES: Final = 16
"""Copies of a photo that are named: a picture that a thousand listings show would name a million."""

_OF_LISTINGS: Final = (
    *("product_id", "row", "repeats", "price_flag", "odd_category_depth", "copy_of"),
)
_OF_PHOTOS: Final = ("source_key", "source_etag", "source_size")
_OF_USABLE_PHOTOS: Final = (*_OF_PHOTOS, "source_sha256", "format", "width", "height", "sha256")


def build_provenance(
    products: pd.DataFrame,
    images: Table,
    cleaned_image_rows: pd.DataFrame,
    matched_photos: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
    splits: pd.DataFrame,
    quarantine: pd.DataFrame,
    source_manifest: dict[str, Any],
) -> bytes:
    """Say of each listing where it comes from and what became of it, sorted by id; gives Parquet.

    Args:
        products: the listings.
        images: the photos.
        cleaned_image_rows: the rows that name them, and those that name photos which are not there or
            cannot be used.
        matched_photos: those of the rows that have a file.
        duplicate_groups: the photos that show the same picture.
        splits: where each listing belongs, and with which others.
        quarantine: what was turned away.
        source_manifest: where the bucket is, as cleaning read it.
    """
    photos = _photos(images, cleaned_image_rows, duplicate_groups)
    rows_turned_away = _rows_turned_away(quarantine)
    photos_turned_away = _photos_turned_away(quarantine, cleaned_image_rows, matched_photos)
    listed = splits.drop_duplicates("product_id")
    sizes = Counter(listed["group"])
    placed = products[list(_OF_LISTINGS)].merge(
        listed[["product_id", "group", "split"]], "left", "product_id", validate="one_to_one"
    )
    origins = (
        ListingProvenance(
            **listing,
            turned_away=rows_turned_away.get(listing["product_id"], []),
            group_listings=sizes[listing["group"]],
            photos=photos.get(listing["product_id"], []),
            photos_turned_away=photos_turned_away.get(listing["product_id"], []),
        )
        for listing in _records(placed.sort_values("product_id"))
    )
    return write_provenance(origins, {name: Source(**source_manifest[name]) for name in SOURCES})


def _photos(
    images: Table, cleaned_image_rows: pd.DataFrame, duplicate_groups: pd.DataFrame
) -> Mapping[str, list[PhotoProvenance]]:
    """Give the photos of each listing, in the order of their rows."""
    found = images.read(["image_id", "product_id", *_OF_USABLE_PHOTOS]).to_pylist()
    photos = {photo["image_id"]: photo for photo in found}
    groups = dict(zip(duplicate_groups["image_id"], duplicate_groups["group"], strict=True))
    members: defaultdict[str, list[str]] = defaultdict(list)
    for image_id in sorted(groups):
        members[groups[image_id]].append(image_id)
    gathered: defaultdict[str, list[PhotoProvenance]] = defaultdict(list)
    for row in _records(cleaned_image_rows[["row", "image_id", "repeated_in"]].sort_values("row")):
        photo = photos.get(row["image_id"])
        if photo is None:
            continue
        group = groups.get(row["image_id"])
        same = members[group] if group is not None else [row["image_id"]]
        others = (photos[each] for each in same if each != row["image_id"])
        gathered[photo["product_id"]].append(
            PhotoProvenance(
                image_id=row["image_id"],
                row=row["row"],
                repeated_in=[int(number) for number in row["repeated_in"]],
                **{name: photo[name] for name in _OF_USABLE_PHOTOS},
                oldest_copy=group,
                copies=len(same) - 1,
                some_copies=[_copy(photo, other) for other in islice(others, MAX_DUPLICATES)],
            )
        )
    return gathered


def _copy(photo: Mapping[str, Any], other: Mapping[str, Any]) -> DuplicatePhoto:
    exact = any(photo[digest] == other[digest] for digest in ("source_sha256", "sha256"))
    return DuplicatePhoto(other["image_id"], other["product_id"], exact)


def _rows_turned_away(quarantine: pd.DataFrame) -> Mapping[str, list[RejectedRow]]:
    """Give what was turned away of the table of listings, by the id that it had."""
    gathered: defaultdict[str, list[RejectedRow]] = defaultdict(list)
    for away in _records(quarantine[quarantine["stage"] == "products"].sort_values("row")):
        gathered[away["key"]].append(RejectedRow(away["row"], away["reason"], away["detail"]))
    return gathered


def _photos_turned_away(
    quarantine: pd.DataFrame, cleaned_image_rows: pd.DataFrame, matched_photos: pd.DataFrame
) -> Mapping[str, list[RejectedPhoto]]:
    """Give what was turned away of the table of images, by the listing that the photo is of."""
    owners = dict(
        zip(cleaned_image_rows["image_id"], cleaned_image_rows["product_id"], strict=True)
    )
    away = quarantine[(quarantine["stage"] == "images") & quarantine["key"].isin(owners.keys())]
    unusable = set(away.loc[away["reason"] == "unusable_file", "key"])
    files = {
        file["image_id"]: {name: file[name] for name in _OF_PHOTOS}
        for file in _records(matched_photos[matched_photos["image_id"].isin(unusable)])
    }
    gathered: defaultdict[str, list[RejectedPhoto]] = defaultdict(list)
    for row in _records(away.sort_values("row")):
        # A row that contradicts an earlier one names a photo whose file is well.
        file = files.get(row["key"]) if row["reason"] == "unusable_file" else None
        gathered[owners[row["key"]]].append(
            RejectedPhoto(
                image_id=row["key"],
                row=row["row"],
                reason=row["reason"],
                detail=row["detail"],
                **file or dict.fromkeys(_OF_PHOTOS),
            )
        )
    return gathered


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Give rows with Python's own numbers, and None for what is missing."""
    plain = table.astype("object").where(table.notna(), None)
    return [dict(zip(plain.columns, row, strict=True)) for row in plain.itertuples(index=False)]
