"""Provenance of every listing of a release, collected from the outputs of cleaning."""

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
"""Maximum number of copies stored per photo: a photo in 1,000 listings would otherwise need 10^6."""

_PRODUCT_COLUMNS: Final = (
    *("product_id", "row", "repeats", "price_flag", "odd_category_depth", "copy_of"),
)
_SOURCE_COLUMNS: Final = ("source_key", "source_etag", "source_size")
_PHOTO_COLUMNS: Final = (*_SOURCE_COLUMNS, "source_sha256", "format", "width", "height", "sha256")


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
    """Collect the provenance of each listing, sorted by id.

    Args:
        products: the listings.
        images: the photos.
        cleaned_image_rows: accepted image rows, including those of missing and unusable photos.
        matched_photos: the image rows that have a file.
        duplicate_groups: groups of copies and near-duplicates.
        splits: group and split of each listing.
        quarantine: rejected rows and files.
        source_manifest: identity of the raw tables and of the photo folder that cleaning read.

    Returns:
        The artifact ``provenance``, Parquet.
    """
    photos = _photos(images, cleaned_image_rows, duplicate_groups)
    rejected = _rejected_rows(quarantine)
    rejected_photos = _rejected_photos(quarantine, cleaned_image_rows, matched_photos)
    assigned = splits.drop_duplicates("product_id")
    sizes = Counter(assigned["group"])
    rows = products[list(_PRODUCT_COLUMNS)].merge(
        assigned[["product_id", "group", "split"]], "left", "product_id", validate="one_to_one"
    )
    listings = (
        ListingProvenance(
            **row,
            rejected=rejected.get(row["product_id"], []),
            group_listings=sizes[row["group"]],
            photos=photos.get(row["product_id"], []),
            rejected_photos=rejected_photos.get(row["product_id"], []),
        )
        for row in _records(rows.sort_values("product_id"))
    )
    return write_provenance(listings, {name: Source(**source_manifest[name]) for name in SOURCES})


def _photos(
    images: Table, cleaned_image_rows: pd.DataFrame, duplicate_groups: pd.DataFrame
) -> Mapping[str, list[PhotoProvenance]]:
    """Return the photos of each listing, in the order of their rows."""
    usable = images.read(["image_id", "product_id", *_PHOTO_COLUMNS]).to_pylist()
    photos = {photo["image_id"]: photo for photo in usable}
    groups = dict(zip(duplicate_groups["image_id"], duplicate_groups["group"], strict=True))
    members: defaultdict[str, list[str]] = defaultdict(list)
    for image_id in sorted(groups):
        members[groups[image_id]].append(image_id)
    by_listing: defaultdict[str, list[PhotoProvenance]] = defaultdict(list)
    for row in _records(cleaned_image_rows[["row", "image_id", "repeated_in"]].sort_values("row")):
        photo = photos.get(row["image_id"])
        if photo is None:
            continue
        group = groups.get(row["image_id"])
        same = members[group] if group is not None else [row["image_id"]]
        others = (photos[image_id] for image_id in same if image_id != row["image_id"])
        by_listing[photo["product_id"]].append(
            PhotoProvenance(
                image_id=row["image_id"],
                row=row["row"],
                repeated_in=[int(number) for number in row["repeated_in"]],
                **{name: photo[name] for name in _PHOTO_COLUMNS},
                oldest_copy=group,
                copies=len(same) - 1,
                some_copies=[_duplicate(photo, other) for other in islice(others, MAX_DUPLICATES)],
            )
        )
    return by_listing


def _duplicate(photo: Mapping[str, Any], other: Mapping[str, Any]) -> DuplicatePhoto:
    exact = any(photo[digest] == other[digest] for digest in ("source_sha256", "sha256"))
    return DuplicatePhoto(other["image_id"], other["product_id"], exact)


def _rejected_rows(quarantine: pd.DataFrame) -> Mapping[str, list[RejectedRow]]:
    """Return the rejected rows of the table of listings, by product id."""
    by_listing: defaultdict[str, list[RejectedRow]] = defaultdict(list)
    for row in _records(quarantine[quarantine["stage"] == "products"].sort_values("row")):
        by_listing[row["key"]].append(RejectedRow(row["row"], row["reason"], row["detail"]))
    return by_listing


def _rejected_photos(
    quarantine: pd.DataFrame, cleaned_image_rows: pd.DataFrame, matched_photos: pd.DataFrame
) -> Mapping[str, list[RejectedPhoto]]:
    """Return the rejected rows of the table of images, by product id."""
    owners = dict(
        zip(cleaned_image_rows["image_id"], cleaned_image_rows["product_id"], strict=True)
    )
    rows = quarantine[(quarantine["stage"] == "images") & quarantine["key"].isin(owners.keys())]
    unusable = set(rows.loc[rows["reason"] == "unusable_file", "key"])
    files = {
        file["image_id"]: {name: file[name] for name in _SOURCE_COLUMNS}
        for file in _records(matched_photos[matched_photos["image_id"].isin(unusable)])
    }
    by_listing: defaultdict[str, list[RejectedPhoto]] = defaultdict(list)
    for row in _records(rows.sort_values("row")):
        # The file of a row that contradicts an earlier row is usable.
        file = files.get(row["key"]) if row["reason"] == "unusable_file" else None
        by_listing[owners[row["key"]]].append(
            RejectedPhoto(
                image_id=row["key"],
                row=row["row"],
                reason=row["reason"],
                detail=row["detail"],
                **file or dict.fromkeys(_SOURCE_COLUMNS),
            )
        )
    return by_listing


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as dicts of plain Python values, with None for missing values."""
    plain = table.astype("object").where(table.notna(), None)
    return [dict(zip(plain.columns, row, strict=True)) for row in plain.itertuples(index=False)]
