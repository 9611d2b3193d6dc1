"""The table of images and the folder of photos, matched to each other and to the listings."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

import pandas as pd

from fb_marketplace.parameters.cleaning import CleaningParameters, PhotoParameters
from fb_marketplace.pipelines.cleaning.products import (
    CleanedTable,
    drop_incomplete_rows,
    drop_torn_rows,
    merge_repeated_rows,
    rename_columns,
    split_erased,
)
from fb_marketplace.pipelines.cleaning.quarantine import (
    Rejection,
    quarantine_rows,
    rejections_table,
)
from fb_marketplace.schemas.reasons import ERASED
from fb_marketplace.storage.erasure_list import DETAIL, EMPTY_ERASURE_LIST, ErasureList, is_masked
from fb_marketplace.storage.photo_source import PhotoSource


class MatchedPhotosResult(NamedTuple):
    """Photos that a row and a file vouch for, and the rows and files that found no partner."""

    photos: pd.DataFrame
    quarantined: pd.DataFrame


def clean_image_rows(
    raw_images: pd.DataFrame,
    cleaned_products: pd.DataFrame,
    quarantined_products: pd.DataFrame,
    parameters: CleaningParameters,
    forgotten: ErasureList = EMPTY_ERASURE_LIST,
) -> CleanedTable:
    """Keep the image rows that have what they need and belong to a listing that was kept.

    Args:
        raw_images: all columns as text, one row an image, as it stands in the bucket.
        cleaned_products: the listings that were kept.
        quarantined_products: the ledger of those that were not.
        parameters: what counts as missing, and how the columns are called.
        forgotten: listings and photos of which nothing is to be kept.
    """
    rows = rename_columns(raw_images, parameters.images, "raw_images")
    rows, others, forgot = split_erased(rows, "image_id", forgotten, ("product_id", "image_id"))
    whole, torn = drop_torn_rows(others)
    kept, turned = drop_incomplete_rows(whole, parameters, parameters.images.required)
    turned += forgot + torn
    known = kept["product_id"].isin(set(cleaned_products["product_id"]))
    reasons = dict(zip(quarantined_products["key"], quarantined_products["reason"], strict=True))
    for row, product in kept.loc[~known, "product_id"].items():
        label = int(str(row))
        if product in reasons:
            detail = f"listing {product} was turned away: {reasons[product]}"
            turned.append(Rejection(label, "quarantined_product", detail))
        else:
            turned.append(Rejection(label, "unknown_product", f"no listing has the id {product}"))
    kept, repeated_in, conflicting = merge_repeated_rows(kept[known], "image_id")
    kept = kept.assign(repeats=repeated_in.map(len).astype("int64"), repeated_in=repeated_in)
    turned_away = quarantine_rows("images", turned + conflicting, rows, "image_id")
    return CleanedTable(kept.reset_index(drop=True), turned_away)


def list_photo_files(
    raw_image_files: PhotoSource,
    quarantined_image_rows: pd.DataFrame | None = None,
    forgotten: ErasureList = EMPTY_ERASURE_LIST,
) -> pd.DataFrame:
    """List the files of the photo folder: ``key``, ``size`` in bytes, and ``etag``.

    Args:
        raw_image_files: the folder.
        quarantined_image_rows: the ledger of rows that were turned away; photos of what is forgotten that
            came since it was have only that to tell them.
        forgotten: photos of which nothing is to be kept: their files are counted, and not named.
    """
    listed = [file._replace(key=_as_text(file.key)) for file in raw_image_files.files()]
    files = pd.DataFrame(listed, columns=["key", "size", "etag"])
    if forgotten.products or forgotten.images:
        rows = set() if quarantined_image_rows is None else set(quarantined_image_rows["key"])
        for row, key in files["key"].items():
            path = PurePosixPath(key)
            image_id = str(path.with_suffix(""))
            masked = forgotten.masked(image_id)
            if forgotten.has_image(image_id) or masked in rows:
                files.loc[row, ["key", "etag"]] = [f"{masked}{path.suffix}", ""]
    return files.astype({"key": "str", "size": "int64", "etag": "str"})


def _as_text(key: str) -> str:
    r"""Write what is no UTF-8 in the name of a local file as ``\udcff``: no table takes it as it is."""
    return key.encode("utf-8", "backslashreplace").decode()


def match_photos_to_rows(
    cleaned_image_rows: pd.DataFrame,
    quarantined_image_rows: pd.DataFrame,
    photo_files: pd.DataFrame,
    parameters: CleaningParameters,
) -> MatchedPhotosResult:
    """Match image rows to the files of the folder, by name.

    Returns:
        The image rows that have a file, with ``source_key``, ``source_size`` and ``source_etag``, sorted
        by image; and the ledger of rows without a file and files without a row.
    """
    photos = parameters.photos
    files = photo_files.add_prefix("source_")
    rows = cleaned_image_rows.assign(source_key=cleaned_image_rows["image_id"] + photos.suffix)
    matched = rows.merge(files, on="source_key")
    found = rows["source_key"].isin(files["source_key"])
    without_file = rejections_table(
        ("images", row, image_id, "missing_file", f"there is no {photos.folder}/{key}")
        for first, further, image_id, key in rows.loc[
            ~found, ["row", "repeated_in", "image_id", "source_key"]
        ].itertuples(index=False)
        for row in (first, *further)
    )
    without_row = rejections_table(
        _strays(
            sorted(set(files["source_key"]) - set(rows["source_key"])),
            set(quarantined_image_rows["key"]),
            photos,
        )
    )
    return MatchedPhotosResult(
        matched.sort_values("image_id", ignore_index=True),
        pd.concat([without_file, without_row], ignore_index=True),
    )


def _strays(
    keys: list[str], turned_away: set[str], photos: PhotoParameters
) -> Iterator[tuple[str, int, str, str, str]]:
    for key in keys:
        path, image_id = f"{photos.folder}/{key}", str(PurePosixPath(key).with_suffix(""))
        if is_masked(image_id):
            yield "files", -1, path, ERASED, DETAIL
        elif image_id in turned_away:
            yield (
                "files",
                -1,
                path,
                "row_quarantined",
                f"the row of image {image_id} was turned away",
            )
        else:
            yield "files", -1, path, "no_row", f"no row names image {image_id}"
