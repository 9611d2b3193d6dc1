"""What a store or a disk that refuses means, and what to do about it: in one sentence each."""

import errno
import re
from collections.abc import Iterator
from typing import Final

from fb_marketplace_serving.storage.urls import without_credentials

_WRONG_KEY: Final = (
    "the store refuses the key; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, to "
    "those of this store"
)
_EXPIRED: Final = (
    "the session token has expired or is not valid; get new credentials, and run again"
)
_FORBIDDEN: Final = (
    "these credentials may not do that there; see the policies in docs/operations.md"
)
_NO_CREDENTIALS: Final = (
    "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give "
    "the machine a role"
)
_NO_BUCKET: Final = "there is no such bucket; make it, or mend FB_RAW or FB_LAKE"
_UNREACHABLE: Final = (
    "the store cannot be reached; see whether AWS_ENDPOINT_URL_S3 and the network are right, and run "
    "again"
)
_BUSY: Final = "the store is too busy to answer; run again later"
_FULL: Final = "the disk is full; make room, or set FB_LAKE to a larger one, and run again"
_READ_ONLY: Final = "it cannot be written to; set FB_LAKE to a folder that can be"

_BY_CODE: Final = {
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity"), _WRONG_KEY),
    **dict.fromkeys(("ExpiredToken", "InvalidToken", "TokenRefreshRequired"), _EXPIRED),
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "403"), _FORBIDDEN),
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it, and run again",
    "NoSuchBucket": _NO_BUCKET,
    **dict.fromkeys(("SlowDown", "ServiceUnavailable", "503"), _BUSY),
}
_BY_CLASS: Final = {
    **dict.fromkeys(
        ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"),
        _NO_CREDENTIALS,
    ),
    "ProfileNotFound": "AWS_PROFILE names a profile that is not configured; mend it, or unset it",
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
_BY_NUMBER: Final = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
    errno.EROFS: _READ_ONLY,
}
# Lance and Arrow give the words alone.
_BY_WORDS: Final = {
    "No space left on device": _FULL,
    "Disk quota exceeded": _FULL,
    "Read-only file system": _READ_ONLY,
    "error sending request": _UNREACHABLE,
}
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")


def advice(error: BaseException) -> str | None:
    """Say what an error of a store or a disk means and what to do; nothing for any other error."""
    for cause in causes(error):
        response = getattr(cause, "response", None)
        code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        written = _CODE.search(str(cause))
        for found in (code, written and written[1]):
            if found in _BY_CODE:
                return _BY_CODE[found]
        for base in type(cause).__mro__:
            if base.__module__.startswith("botocore.") and base.__name__ in _BY_CLASS:
                return _BY_CLASS[base.__name__]
        if isinstance(cause, OSError) and cause.errno in _BY_NUMBER:
            return _BY_NUMBER[cause.errno]
        for words, told in _BY_WORDS.items():
            if words in str(cause):
                return told
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error, what it was raised from, what that was raised from, and so on.

    Not what was being handled when it was raised: a mistake of ours made there is no less one.
    """
    met: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in met:
        met.add(id(at))
        yield at
        at = at.__cause__


def one_line(error: BaseException, most: int = 400) -> str:
    """Say an error in one line of bounded length, without what a URL may hold of credentials."""
    told = without_credentials(" ".join(str(error).split())) or type(error).__name__
    return told if len(told) <= most else f"{told[:most]}…"
