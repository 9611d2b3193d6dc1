"""Provenance of the raw data: URLs, and checksums of the tables."""

from typing import Any

from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import sha256
from fb_marketplace.storage.photo_source import PhotoSource


def record_sources(
    raw_products_file: FileRef, raw_images_file: FileRef, raw_image_files: PhotoSource
) -> dict[str, dict[str, Any]]:
    """Record the sources of this run's raw data, because a later run may read another bucket.

    Row numbers in the lake refer to the tables with these checksums.

    Args:
        raw_products_file: the table of listings.
        raw_images_file: the table of images.
        raw_image_files: the folder of photos.

    Returns:
        ``products`` and ``images``, each with ``url``, ``bytes`` and ``sha256``, and ``photos`` with
        ``url``.
    """
    tables = {"products": raw_products_file, "images": raw_images_file}
    return {
        **{name: _file(file) for name, file in tables.items()},
        "photos": {"url": raw_image_files.url},
    }


def _file(file: FileRef) -> dict[str, Any]:
    data = file.read()
    return {"url": file.url, "bytes": len(data), "sha256": sha256(data)}
