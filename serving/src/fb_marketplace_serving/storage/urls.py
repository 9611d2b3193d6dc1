"""URLs of folders and buckets: their parts, and credentials, which are rejected and redacted."""

import re
from pathlib import Path
from typing import Final

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


def is_local(url: str) -> bool:
    """Check whether a URL is a local path."""
    return "://" not in url or url.startswith("file://")


def is_s3(url: str) -> bool:
    """Check whether a URL is in S3 or an S3-compatible store."""
    return url.startswith(("s3://", "s3a://"))


def local_path(url: str) -> Path:
    """Return the path of a local URL."""
    return Path(url.removeprefix("file://"))


def join(root: str, *keys: str) -> str:
    """Return the URL of a file or folder below a root."""
    return "/".join((root.rstrip("/"), *keys))


def split(url: str) -> tuple[str, str]:
    """Split a URL into its folder and the name in it."""
    folder, slash, name = url.rstrip("/").rpartition("/")
    return folder or slash or ".", name
