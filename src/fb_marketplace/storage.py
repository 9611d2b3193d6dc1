"""Where things are kept: folders and buckets, opened with the timeouts and retries that we mean."""

import os
from typing import Any, Final

import fsspec
from fsspec.config import conf as fsspec_defaults

S3_DEFAULTS: Final[dict[str, Any]] = {
    "use_listings_cache": False,
    "config_kwargs": {
        "connect_timeout": 5,
        "read_timeout": 30,
        "retries": {"mode": "standard", "total_max_attempts": 2},
    },
}
"""A cached listing hides what another process has just written; botocore's own timeouts are a minute.

s3fs tries five times around botocore's tries: left alone, a dead endpoint takes minutes to say so.
"""


def configure() -> None:
    """Make the S3 defaults those of every fsspec filesystem opened from here on, Kedro's included."""
    fsspec_defaults.setdefault("s3", {}).update(S3_DEFAULTS)


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
    options = {"connect_timeout": "5s", "timeout": "60s"}
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
