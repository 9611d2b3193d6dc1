"""Folders and buckets, opened with the timeouts and retries of this project."""

import fsspec

from fb_marketplace_serving.storage.lake import register_s3
from fb_marketplace_serving.storage.urls import normalize_root, split


def open_root(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Open the filesystem of a folder or bucket.

    Returns:
        The filesystem, and the path in it.
    """
    register_s3()
    filesystem, path = fsspec.core.url_to_fs(normalize_root(url))
    return filesystem, path.rstrip("/")


def list_names(folder: str, limit: int = 8) -> str:
    """Format the names in a folder for an error message."""
    try:
        filesystem, path = open_root(folder)
        names = sorted(split(name)[1] for name in filesystem.ls(path, detail=False))
    except OSError:
        return "nothing that can be read"
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more if names else "nothing"
