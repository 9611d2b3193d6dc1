"""Where things are kept: folders and buckets, opened with the timeouts and retries that we mean."""

import os
from typing import Final

import fsspec

from fb_marketplace_serving.storage.lake import use_own_s3

LANCE_DEFAULTS: Final = {
    "connect_timeout": "5s",
    "read_timeout": "5s",
    "timeout": "120s",
    "client_max_retries": "8",
    "client_retry_timeout": "4",
}
"""What Lance's own object store is told.

It asks again after a 5xx, and after a connection that failed where it is safe, with jitter between, but
counts the tries alone: ten times half a minute for a store that hangs, and each listing six times that
(found by running it through ``tests/support/fault_proxy.py``). So whatever fails is asked anew for 4 s, and
what hangs, 5 s without a byte, once. :mod:`fb_marketplace.storage.keyed_table` retries the rest.
``timeout`` is for a whole part of an upload, which may be slow.
"""


def configure() -> None:
    """Have every fsspec filesystem on S3 opened from here on, Kedro's included, be asked with patience."""
    use_own_s3()


def open_root(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Open the filesystem of a folder or bucket URL; gives it and the path within it."""
    configure()
    filesystem, path = fsspec.core.url_to_fs(url)
    return filesystem, path.rstrip("/")


def is_local(url: str) -> bool:
    """Tell whether a URL is a folder of this machine."""
    return "://" not in url or url.startswith("file://")


def lance_options(url: str) -> dict[str, str] | None:
    """Give Lance what it does not find for itself in the environment.

    Lance reads credentials as every AWS client does, but not ``AWS_ENDPOINT_URL_S3``, and it refuses a
    plain ``http://`` endpoint until told.
    """
    if not url.startswith("s3://"):
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


def names_in(folder: str, most: int = 8) -> str:
    """Name what a folder holds, for an error message."""
    try:
        filesystem, path = open_root(folder)
        found = sorted(
            name.rstrip("/").rpartition("/")[2] for name in filesystem.ls(path, detail=False)
        )
    except OSError:
        return "nothing that can be read"
    more = f" and {len(found) - most:,} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more if found else "nothing"
