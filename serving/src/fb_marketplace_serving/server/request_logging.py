"""The server's log: a JSON object a line, on standard error.

A request leaves its id, what it was, how it ended and how long it took: no header, no query, nothing of
the photo.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

LOG: Final = logging.getLogger("fb_serve")

_TELLS: Final = "told"


def log_fields(**fields: object) -> dict[str, dict[str, object]]:
    """Give fields to a line: ``LOG.info("swapped", extra=told(release="v2"))``."""
    return {_TELLS: fields}


def log_as_json(level: str) -> None:
    """Write what this server, and uvicorn beneath it, have to say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    for name, least in (("fb_serve", level), ("uvicorn.error", "warning"), ("asyncio", "warning")):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(least.upper())


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= getattr(record, _TELLS, {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)
