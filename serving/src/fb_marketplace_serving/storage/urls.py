"""URLs of buckets that hold a key, such as ``s3://key:secret@bucket``: never taken, never repeated."""

import re
from typing import Final

_KEY_IN_URL: Final = re.compile(r"(?<=://)[^/@\s'\"]+@")


def without_credentials(told: str) -> str:
    """Blot out the names and passwords in the URLs of a text."""
    return _KEY_IN_URL.sub("***@", told)


def refusal_of_credentials(url: str, variable: str) -> str | None:
    """Say why a URL that holds a key is not taken; nothing for any other URL.

    Args:
        url: of a bucket.
        variable: by which it was told.
    """
    if without_credentials(url) == url:
        return None
    return (
        f"{without_credentials(url)} has a key in it, which would be written to logs and records. Take it "
        f"out of {variable}, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    )
