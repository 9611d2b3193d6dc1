"""Credentials in bucket URLs, such as ``s3://key:secret@bucket``: refused, and never shown."""

import re
from typing import Final

_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s'\"]+@")


def redact_credentials(text: str) -> str:
    """Replace user names and passwords in the URLs of a text by ``***``."""
    return _CREDENTIALS.sub("***@", text)


def credentials_error(url: str, variable: str) -> str | None:
    """Return an error message for a URL that contains credentials, None for any other URL.

    Args:
        url: URL of a bucket.
        variable: the setting that contains the URL.
    """
    redacted = redact_credentials(url)
    if redacted == url:
        return None
    return (
        f"{redacted} contains an access key, which would end up in logs and records. Remove it from "
        f"{variable}, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    )
