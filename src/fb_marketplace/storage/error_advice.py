"""Advice on errors of stores and disks: one sentence with the cause and the remedy."""

import errno
import re
from collections.abc import Iterator
from typing import Final

from fb_marketplace_serving.storage.urls import redact_credentials

_WRONG_KEY: Final = (
    "the store refuses the key; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, to "
    "credentials of this store"
)
_EXPIRED: Final = "the session token has expired or is invalid; get new credentials, then rerun"
_FORBIDDEN: Final = "these credentials lack a permission; see the policies in docs/operations.md"
_NO_CREDENTIALS: Final = (
    "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give "
    "the machine a role"
)
_NO_BUCKET: Final = "the bucket does not exist; create it, or correct FB_RAW or FB_LAKE"
_UNREACHABLE: Final = (
    "the store cannot be reached; check AWS_ENDPOINT_URL_S3 and the network, then rerun"
)
_BUSY: Final = "the store is too busy to answer; rerun later"
_FULL: Final = "the disk is full; free some space, or set FB_LAKE to a larger disk, then rerun"
_READ_ONLY: Final = "the file system is read-only; set FB_LAKE to a writable folder"

_BY_CODE: Final = {
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity"), _WRONG_KEY),
    **dict.fromkeys(("ExpiredToken", "InvalidToken", "TokenRefreshRequired"), _EXPIRED),
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "403"), _FORBIDDEN),
    "RequestTimeTooSkewed": "the clock of this machine is wrong; set it, then rerun",
    "NoSuchBucket": _NO_BUCKET,
    **dict.fromkeys(("SlowDown", "ServiceUnavailable", "503"), _BUSY),
}
_BY_CLASS: Final = {
    **dict.fromkeys(
        ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"),
        _NO_CREDENTIALS,
    ),
    "ProfileNotFound": "AWS_PROFILE names a profile that does not exist; correct or unset it",
    **dict.fromkeys(
        ("UnauthorizedSSOTokenError", "SSOTokenLoadError", "TokenRetrievalError"), _EXPIRED
    ),
    **dict.fromkeys(
        (
            *("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError"),
            *("ConnectionClosedError", "ConnectionError", "ProxyConnectionError", "SSLError"),
        ),
        _UNREACHABLE,
    ),
}
_BY_ERRNO: Final = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
    errno.EROFS: _READ_ONLY,
}
# Errors of Lance and Arrow have only a text.
_BY_TEXT: Final = {
    "No space left on device": _FULL,
    "Disk quota exceeded": _FULL,
    "Read-only file system": _READ_ONLY,
    "error sending request": _UNREACHABLE,
}
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")


def advice(error: BaseException) -> str | None:
    """Return the advice for an error of a store or a disk, None for any other error."""
    for cause in cause_chain(error):
        response = getattr(cause, "response", None)
        code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        code_in_text = _CODE.search(str(cause))
        for candidate in (code, code_in_text and code_in_text[1]):
            if candidate in _BY_CODE:
                return _BY_CODE[candidate]
        for base in type(cause).__mro__:
            if base.__module__.startswith("botocore.") and base.__name__ in _BY_CLASS:
                return _BY_CLASS[base.__name__]
        if isinstance(cause, OSError) and cause.errno in _BY_ERRNO:
            return _BY_ERRNO[cause.errno]
        for text, sentence in _BY_TEXT.items():
            if text in str(cause):
                return sentence
    return None


def cause_chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the chain of its causes (``__cause__``), outermost first.

    ``__context__`` is not followed: a bug in an ``except`` block is still a bug.
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__


def one_line(error: BaseException, max_length: int = 400) -> str:
    """Format an error in one line, shortened and without credentials in URLs."""
    text = redact_credentials(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= max_length else f"{text[:max_length]}…"
