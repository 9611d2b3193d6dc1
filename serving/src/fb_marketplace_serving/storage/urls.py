"""URLs of folders and buckets: their form and parts, and credentials, which are rejected and redacted."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote

_FILE_URL: Final = re.compile(r"(?:file:(?://(?:localhost(?=/))?)?|local://)", re.IGNORECASE)
_S3_URL: Final = re.compile(r"s3a?://", re.IGNORECASE)

_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s'\"]+@")


def redact_credentials(text: str) -> str:
    """Replace user names and passwords in the URLs of a text by ``***``."""
    return _CREDENTIALS.sub("***@", text)


def credentials_error(url: str, variable: str) -> str | None:
    """Return an error message for a URL that contains credentials, None for any other URL.

    Args:
        url: URL of a bucket.
        variable: name of the setting that contains the URL, for the message.
    """
    redacted = redact_credentials(url)
    if redacted == url:
        return None
    return (
        f"{redacted} contains an access key, which would end up in logs and records. Remove it from "
        f"{variable}, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    )


def normalize_root(url: str) -> str:
    """Return the URL of a folder or bucket in one form.

    ``file:`` URLs become paths, ``s3a:`` becomes ``s3:``, and slashes at the end are removed. Slashes
    within the URL stay: in a bucket, ``a//b`` and ``a/b`` are two keys.
    """
    if match := _FILE_URL.match(url):
        url = unquote(url[match.end() :])
    elif match := _S3_URL.match(url):
        url = f"s3://{url[match.end() :]}"
    return url.rstrip("/") or url[:1]


def is_local(url: str) -> bool:
    """Check whether a URL is a local path."""
    return "://" not in normalize_root(url)


def is_s3(url: str) -> bool:
    """Check whether a URL is in S3 or an S3-compatible store."""
    return normalize_root(url).startswith("s3://")


def local_path(url: str) -> Path:
    """Return the path of a local URL."""
    return Path(normalize_root(url))


def join(root: str, *keys: str) -> str:
    """Return the URL of a file or folder below a root."""
    return "/".join((root.rstrip("/"), *keys))


def split(url: str) -> tuple[str, str]:
    """Split a URL into its folder and the name in it."""
    folder, slash, name = url.rstrip("/").rpartition("/")
    return folder or slash or ".", name
