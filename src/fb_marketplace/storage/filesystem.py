"""Folders and buckets, opened with the timeouts and retries of this project."""

import os
from typing import Final

import fsspec

from fb_marketplace_serving.storage.lake import register_s3
from fb_marketplace_serving.storage.urls import is_s3, normalize_root, split

LANCE_DEFAULTS: Final = {
    "connect_timeout": "5s",
    "read_timeout": "5s",
    "timeout": "120s",
    "client_max_retries": "8",
    "client_retry_timeout": "4",
}
"""Options of Lance's own S3 client.

The client retries 5xx responses and, if a retry is safe, failed connections, with jitter. By default it
limits only the number of attempts. If the store hangs, a request then makes ten attempts of 30 s each, and
a listing makes sixty (measured with ``fault_proxy.py`` in the tests). With these options, failed requests
are retried for 4 s, and a request that hangs (5 s without a byte) is retried once. After that,
:mod:`storage.retries` repeats the operation. ``timeout`` is long because it covers the upload of a part.
"""


def open_root(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Open the filesystem of a folder or bucket.

    Returns:
        The filesystem, and the path in it.
    """
    register_s3()
    filesystem, path = fsspec.core.url_to_fs(normalize_root(url))
    return filesystem, path.rstrip("/")


def lance_options(url: str) -> dict[str, str] | None:
    """Return the options of Lance's S3 client for a URL; None for a local folder.

    Lance reads credentials like every AWS client. But it ignores ``AWS_ENDPOINT_URL_S3``, and by default it
    rejects ``http://`` endpoints.
    """
    if not is_s3(url):
        return None
    options = dict(LANCE_DEFAULTS)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        options["aws_endpoint"] = endpoint
        options["allow_http"] = str(endpoint.startswith("http://")).lower()
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region:
        options["aws_region"] = region
    return options


def list_names(folder: str, limit: int = 8) -> str:
    """Format the names in a folder for an error message."""
    try:
        filesystem, path = open_root(folder)
        names = sorted(split(name)[1] for name in filesystem.ls(path, detail=False))
    except OSError:
        return "nothing that can be read"
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more if names else "nothing"
