"""Server log: one JSON object per line on standard error.

A request is logged with its id, method, path, status and duration. Headers, queries and photos are never
logged.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

LOG: Final = logging.getLogger("fb_serve")

_FIELDS: Final = "fields"


def log_fields(**fields: object) -> dict[str, dict[str, object]]:
    """Return extra fields for a log line: ``LOG.info("swapped", extra=log_fields(release="v2"))``."""
    return {_FIELDS: fields}


def configure_json_logging(level: str) -> None:
    """Write the logs of this server and of uvicorn to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    for name, threshold in (
        ("fb_serve", level),
        ("uvicorn.error", "warning"),
        ("asyncio", "warning"),
    ):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(threshold.upper())


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= getattr(record, _FIELDS, {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)
