"""Secrets that the environment holds, kept out of whatever is logged, however much is logged."""

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from typing import Any, Final

from fb_marketplace_serving.storage.urls import redact_credentials

NAMES: Final = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "FB_API_KEYS",
)

_LEAST: Final = 8
"""What is shorter would blot out words that are no secrets."""

# A role's or profile's token is in no variable; botocore logs it at debug level, as a header.
_TOKEN: Final = re.compile(
    r"(?i)(x-amz-security-token['\"]?\s*[:=]\s*b?['\"]?|X-Amz-Security-Token=)[^\s'\",&}]+"
)
_BLOT: Final = "***"


def redact(told: str) -> str:
    """Blot out the secrets in a text, and the keys in its URLs."""
    for secret in _secrets():
        told = told.replace(secret, _BLOT)
    return redact_credentials(_TOKEN.sub(rf"\1{_BLOT}", told))


def install_redaction() -> None:
    """Blot out secrets in all records that are logged in this process from here on, by whatever library."""
    make = logging.getLogRecordFactory()
    if getattr(make, "redacts", False):
        return

    def make_redacted(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        try:
            told = record.getMessage()
        except Exception:  # noqa: BLE001  # whatever it is, `logging` tells whoever logs it
            return record
        clean = redact(told)
        if clean != told:
            record.msg, record.args = clean, ()
        return record

    make_redacted.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make_redacted)


def _secrets() -> list[str]:
    found = []
    for name in NAMES:
        value = os.environ.get(name, "")
        parts = [value]
        if name == "FB_API_KEYS":
            parts = [entry.partition(":")[2] or entry for entry in value.split(",")]
        found += [part.strip() for part in parts if len(part.strip()) >= _LEAST]
    return found


@contextlib.contextmanager
def suppress_root_warnings() -> Iterator[None]:
    """Let only errors through to the root logger."""
    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
