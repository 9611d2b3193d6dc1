"""Filters of log records: redaction of secrets, and suppression of warnings."""

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
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)

_MIN_LENGTH: Final = 8
"""Shorter values would also redact ordinary words."""

# The token of a role or profile is not in the environment; botocore logs it in a header, at debug level.
_TOKEN: Final = re.compile(
    r"(?i)(x-amz-security-token['\"]?\s*[:=]\s*b?['\"]?|X-Amz-Security-Token=)[^\s'\",&}]+"
)
_REDACTED: Final = "***"


def redact(text: str) -> str:
    """Replace the secrets in a text, and the credentials in its URLs."""
    for secret in _secrets():
        text = text.replace(secret, _REDACTED)
    return redact_credentials(_TOKEN.sub(rf"\1{_REDACTED}", text))


def install_redaction() -> None:
    """Redact secrets in all later log records of this process, including those of libraries."""
    make = logging.getLogRecordFactory()
    if getattr(make, "redacts", False):
        return

    def make_redacted(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001  # `logging` itself reports a record that cannot be formatted
            return record
        clean = redact(message)
        if clean != message:
            record.msg, record.args = clean, ()
        return record

    make_redacted.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make_redacted)


def _secrets() -> list[str]:
    secrets = []
    for name in NAMES:
        value = os.environ.get(name, "")
        parts = [value]
        if name == "FB_API_KEYS":
            parts = [entry.partition(":")[2] or entry for entry in value.split(",")]
        secrets += [part.strip() for part in parts if len(part.strip()) >= _MIN_LENGTH]
    return secrets


@contextlib.contextmanager
def suppress_warnings(name: str | None = None) -> Iterator[None]:
    """Suppress warnings of a logger, by default the root logger, within the context."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
