"""Image rows and photo files, matched to each other and to the listings."""

from collections.abc import Iterator
from posixpath import splitext
from typing import NamedTuple

import pandas as pd

from fb_marketplace.parameters.cleaning import CleaningParameters, PhotoParameters
from fb_marketplace.pipelines.cleaning.products import (
    CleanedTable,
    drop_incomplete_rows,
    drop_invalid_ids,
    drop_torn_rows,
    merge_repeated_rows,
    parse_dates,
    rename_columns,
    split_erased,
)
from fb_marketplace.pipelines.cleaning.quarantine import (
    Entry,
    Rejection,
    quarantine_rows,
    rejections_table,
)
from fb_marketplace.schemas.reasons import Reason, Stage
from fb_marketplace.storage.photo_source import PhotoSource, photo_ids, photo_names
from fb_marketplace_serving.storage.erasure_list import (
    DETAIL,
    EMPTY_ERASURE_LIST,
    ErasureList,
    is_masked,
)


class MatchedPhotosResult(NamedTuple):
    """Photos that have both a row and a file, and the quarantine table of the other rows and files."""

    photos: pd.DataFrame
    quarantined: pd.DataFrame


def clean_image_rows(
    raw_images: pd.DataFrame,
    cleaned_products: pd.DataFrame,
    quarantined_products: pd.DataFrame,
    parameters: CleaningParameters,
    erasure_list: ErasureList = EMPTY_ERASURE_LIST,
) -> CleanedTable:
    """Clean the image rows.

    A row is accepted if it has all required fields and belongs to an accepted listing.

    Args:
        raw_images: one row per image, all columns as text, as in the raw table.
        cleaned_products: the accepted listings.
        quarantined_products: quarantine table of the other listings.
        parameters: column names and missing values.
        erasure_list: listings and photos to remove.

    Returns:
        One row per image, and the quarantine table of the rejected rows.
    """
    rows = rename_columns(raw_images, parameters.images, "raw_images")
    rows, others, erased = split_erased(rows, "image_id", erasure_list, ("product_id", "image_id"))
    others, torn = drop_torn_rows(others)
    others, invalid = drop_invalid_ids(others, ("image_id", "product_id"))
    accepted, rejected = drop_incomplete_rows(
        others, parameters, parameters.images.required_columns
    )
    rejected += erased + torn + invalid
    known = accepted["product_id"].isin(set(cleaned_products["product_id"]))
    reasons = dict(zip(quarantined_products["key"], quarantined_products["reason"], strict=True))
    for row, product in accepted.loc[~known, "product_id"].items():
        if product in reasons:
            reason = Reason.QUARANTINED_PRODUCT
            detail = f"listing {product} was rejected: {reasons[product]}"
        else:
            reason, detail = Reason.UNKNOWN_PRODUCT, f"no listing has the id {product}"
        rejected.append(Rejection(int(str(row)), reason, detail))
    accepted, repeated_in, conflicting = merge_repeated_rows(accepted[known], "image_id")
    accepted = accepted.assign(
        repeats=repeated_in.map(len).astype("int64"), repeated_in=repeated_in
    )
    accepted = parse_dates(accepted, parameters.images, parameters.missing_values)
    quarantined = quarantine_rows(Stage.IMAGES, rejected + conflicting, rows, "image_id")
    return CleanedTable(accepted.reset_index(drop=True), quarantined)


def list_photo_files(
    raw_image_files: PhotoSource,
    quarantined_image_rows: pd.DataFrame | None = None,
    erasure_list: ErasureList = EMPTY_ERASURE_LIST,
) -> pd.DataFrame:
    """List the photo folder. Files of erased photos are listed under a masked name.

    Args:
        raw_image_files: the photo folder.
        quarantined_image_rows: quarantine table of the image rows. It identifies photos that were added
            to an erased listing after the erasure.
        erasure_list: listings and photos to remove.

    Returns:
        ``key``, ``size`` in bytes, and ``etag`` of each file.
    """
    listing = [file._replace(key=_escape(file.key)) for file in raw_image_files.files()]
    files = pd.DataFrame(listing, columns=["key", "size", "etag"])
    if erasure_list.products or erasure_list.images:
        rows = set() if quarantined_image_rows is None else set(quarantined_image_rows["key"])
        for row, key in files["key"].items():
            for image_id in photo_ids(key):
                masked = erasure_list.masked(image_id)
                if erasure_list.has_image(image_id) or masked in rows:
                    files.loc[row, ["key", "etag"]] = [f"{masked}{splitext(key)[1]}", ""]
                    break
    return files.astype({"key": "str", "size": "int64", "etag": "str"})


def _escape(key: str) -> str:
    r"""Return a file name with invalid UTF-8 bytes as escapes (``\udcff``), because tables reject them."""
    return key.encode("utf-8", "backslashreplace").decode()


def match_photos_to_rows(
    cleaned_image_rows: pd.DataFrame,
    quarantined_image_rows: pd.DataFrame,
    photo_listing: pd.DataFrame,
    parameters: CleaningParameters,
) -> MatchedPhotosResult:
    """Match image rows to photo files by name; see :func:`photo_names`.

    Returns:
        The image rows that have a file, sorted by image, with ``source_key``, ``source_size`` and
        ``source_etag``; and the quarantine table of rows without a file and files without a row.
    """
    photos = parameters.photos
    files = photo_listing.add_prefix("source_")
    names = files.assign(name=files["source_key"].map(photo_names)).explode("name")
    names["literalness"] = names.groupby(level=0).cumcount()
    rows = cleaned_image_rows.assign(name=cleaned_image_rows["image_id"] + photos.suffix)
    pairs = rows.merge(names, on="name").sort_values(["literalness", "source_key"], kind="stable")
    matched = pairs.drop_duplicates("source_key").drop_duplicates("image_id")
    missing = rows[~rows["image_id"].isin(matched["image_id"])]
    without_file = (
        (Stage.IMAGES, row, image_id, Reason.MISSING_FILE, f"there is no {photos.folder}/{key}")
        for first, repeats, image_id, key in missing[
            ["row", "repeated_in", "image_id", "name"]
        ].itertuples(index=False)
        for row in (first, *repeats)
    )
    unmatched = sorted(set(files["source_key"]) - set(matched["source_key"]))
    without_row = _files_without_row(unmatched, set(quarantined_image_rows["key"]), photos)
    return MatchedPhotosResult(
        matched.drop(columns=["name", "literalness"]).sort_values("image_id", ignore_index=True),
        rejections_table((*without_file, *without_row)),
    )


def _files_without_row(
    keys: list[str], rejected_images: set[str], photos: PhotoParameters
) -> Iterator[Entry]:
    for key in keys:
        image_ids = photo_ids(key)
        rejected = [image_id for image_id in image_ids if image_id in rejected_images]
        if is_masked(image_ids[0]):
            reason, detail = Reason.ERASED, DETAIL
        elif rejected:
            reason, detail = Reason.ROW_QUARANTINED, f"the row of image {rejected[0]} was rejected"
        else:
            reason, detail = Reason.NO_ROW, f"no row has the image id {image_ids[0]}"
        yield Stage.FILES, -1, f"{photos.folder}/{key}", reason, detail
