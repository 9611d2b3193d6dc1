"""Server log: one JSON object per line on standard error, from every library.

A request is logged with its id, method, path, status and duration. Headers, queries and photos are never
logged. Lines contain ASCII characters only, and no control characters. They are bounded in length, and
repeated warnings in number.
"""

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

LOG: Final = logging.getLogger("fb_serve")

_FIELDS: Final = "fields"

_MAX_LENGTH: Final = 500
"""Characters of a value."""

_MAX_ERROR_LENGTH: Final = 8000
"""Characters of a traceback. Its end says the most."""

_MAX_REPEATS: Final = 20
"""Equal warnings or errors in a minute."""

_MAX_KINDS: Final = 1000
"""Warnings and errors that are counted."""


def log_fields(**fields: object) -> dict[str, dict[str, object]]:
    """Return extra fields for a log line: ``LOG.info("swapped", extra=log_fields(release="v2"))``."""
    return {_FIELDS: fields}


def configure_json_logging(level: str) -> None:
    """Write all logs, warnings and uncaught errors of this process to standard error as JSON.

    Args:
        level: minimum level of the server's own lines. Other libraries log warnings and errors only.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    handler.addFilter(_RepeatFilter())
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.WARNING)
    LOG.setLevel(level.upper())
    # No line has them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda error: _log_uncaught(
        error.exc_type, error.exc_value, error.exc_traceback
    )
    sys.unraisablehook = lambda error: _log_uncaught(
        error.exc_type, error.exc_value, error.exc_traceback
    )


def _log_uncaught(
    kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None
) -> None:
    LOG.error("uncaught error", exc_info=(kind, error or kind(), traceback))


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": _shorten(record.getMessage()),
        }
        if record.name != LOG.name:
            line["logger"] = record.name
        fields: dict[str, Any] = getattr(record, _FIELDS, {})
        line |= {name: _shorten(value) for name, value in fields.items()}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)[-_MAX_ERROR_LENGTH:]
        # ASCII: line separators and controls of other alphabets would act on a terminal. JSON leaves 7F.
        return _JSON.encode(line).replace("\x7f", "\\u007f")


_JSON: Final = json.JSONEncoder(default=lambda value: _shorten(str(value)))


class _RepeatFilter(logging.Filter):
    """Drops warnings and errors that are too many in a minute, and counts them in the next line."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._minute = 0
        self._counts: dict[tuple[str, str], int] = {}
        self._dropped = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        minute = int(self._clock() / 60)
        if minute != self._minute:
            self._minute, self._counts = minute, {}
        # The template, not the message, which may contain the input of a client.
        kind = (record.name, str(record.msg)[:_MAX_LENGTH])
        count = self._counts.get(kind, 0)
        if count >= _MAX_REPEATS or (not count and len(self._counts) >= _MAX_KINDS):
            self._dropped += 1
            return False
        self._counts[kind] = count + 1
        if self._dropped:
            record.__dict__[_FIELDS] = getattr(record, _FIELDS, {}) | {
                "dropped_lines": self._dropped
            }
            self._dropped = 0
        return True


def _shorten(value: object) -> object:
    if isinstance(value, str) and len(value) > _MAX_LENGTH:
        return f"{value[:_MAX_LENGTH]}…"
    return value
