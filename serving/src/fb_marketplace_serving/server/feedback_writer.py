"""Feedback: ids of searches, limits, and the thread that writes events."""

import hashlib
import hmac
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock, Semaphore
from typing import Final, Literal, NamedTuple

from fb_marketplace_serving.feedback.events import ClickLine, Kind, SearchLine, file_name
from fb_marketplace_serving.server.inference.threads import SEARCH_NICENESS, make_thread_pool
from fb_marketplace_serving.server.request_logging import LOG, log_fields

Outcome = Literal["written", "dropped", "failed", "limited"]

MAX_QUEUE_SIZE: Final = 1000
"""Maximum events waiting to be written: a few megabytes if every search returns a hundred listings."""

SEARCH_ID_SECONDS: Final = 2 * 60 * 60
"""Time in which clicks on the hits of a search are accepted."""

_MAX_CLIENTS: Final = 100_000
"""Clients that are counted in a day. Events of more clients are not recorded."""

_MODE: Final = 0o640
"""Only the server's user and group may read search queries."""


class FeedbackLimits(NamedTuple):
    """Limits on the feedback that is recorded in a day (UTC).

    Attributes:
        max_bytes: size of each of the two files of a day.
        max_events_per_client: searches and clicks of a client.
    """

    max_bytes: int = 256 * 1024 * 1024
    max_events_per_client: int = 10_000


class SearchIds:
    """Ids of searches, which prove that this server issued them, and when.

    An id is the time, a random number and a code of both, 32 hexadecimal digits in all. Nothing is stored.
    """

    def __init__(self, key: str | None, clock: Callable[[], float] = time.time) -> None:
        """Create ids.

        Args:
            key: secret that several servers share; None for a random one.
            clock: returns the time in seconds.
        """
        self._key = key.encode() if key else os.urandom(32)
        self._clock = clock

    def issue(self) -> str:
        """Return a new id, which reveals neither the user nor related searches."""
        content = f"{int(self._clock()):08x}{os.urandom(4).hex()}"
        return content + self._code(content)

    def is_recent(self, search_id: str) -> bool:
        """Check that an id was issued in the last two hours."""
        content, code = search_id[:16], search_id[16:]
        if not hmac.compare_digest(self._code(content), code):
            return False
        return 0 <= self._clock() - int(content[:8], 16) <= SEARCH_ID_SECONDS

    def _code(self, content: str) -> str:
        return hmac.new(self._key, content.encode(), hashlib.sha256).hexdigest()[:16]


class _DayFullError(Exception):
    """The file of a day has reached its maximum size."""


def check_writable(folder: Path) -> Path:
    """Create a folder if it is missing, and check that files can be written to it.

    Raises:
        ValueError: it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise ValueError(f"expected a writable folder ({error.strerror})") from None


def append_line(file: Path, line: bytes, max_bytes: int) -> None:
    """Append a line to a file, completely or not at all.

    Raises:
        _DayFullError: the file would be larger than ``max_bytes``; it is unchanged.
        OSError: it cannot be written; the file is unchanged.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, _MODE)
    try:
        before = os.fstat(descriptor).st_size
        # A killed server may have left a partial line: end it, so that it cannot corrupt the next.
        torn = before > 0 and os.pread(descriptor, 1, before - 1) != b"\n"
        data = b"\n" * torn + line + b"\n"
        if before + len(data) > max_bytes:
            raise _DayFullError
        written = os.write(descriptor, data)
        if written != len(data):
            os.ftruncate(descriptor, before)
            raise OSError(0, f"only {written:,} of {len(data):,} bytes fit on the disk")
    finally:
        os.close(descriptor)


class FeedbackWriter:
    """Bounded queue of events, written by one thread in order of arrival. Thread-safe.

    Failures are counted and logged once. They neither fail nor delay a request.
    """

    def __init__(
        self,
        folder: Path,
        count: Callable[[Outcome], None],
        queue_size: int = MAX_QUEUE_SIZE,
        limits: FeedbackLimits | None = None,
    ) -> None:
        """Start the thread.

        Args:
            folder: folder to write to.
            count: called with the outcome of each event.
            queue_size: events that may wait; more are dropped.
            limits: limits on the feedback of a day; the defaults if None.
        """
        self._folder = folder
        self._count = count
        self._slots = Semaphore(queue_size)
        self._thread = make_thread_pool(1, "feedback", SEARCH_NICENESS)
        self._failure_logged = False
        self._limits = limits or FeedbackLimits()
        self._lock = Lock()
        self._day = ""
        self._events: dict[str, int] = {}
        self._full: set[str] = set()

    def add(self, kind: Kind, line: SearchLine | ClickLine, client: str) -> bool:
        """Queue an event.

        Args:
            kind: kind of the event.
            line: the event.
            client: name of the client.

        Returns:
            Whether the event was queued. False if the queue is full or closed, or a limit is reached.
        """
        day = line.time.partition("T")[0]
        if not self._count_event(day, client) or file_name(kind, day) in self._full:
            self._count("limited")
            return False
        if not self._slots.acquire(blocking=False):
            self._count("dropped")
            return False
        try:
            self._thread.submit(self._write, kind, line)
        except RuntimeError:  # closed: the server is stopping
            self._slots.release()
            self._count("dropped")
            return False
        return True

    def close(self) -> None:
        """Write all queued events and stop the thread."""
        self._thread.shutdown(wait=True)

    def _count_event(self, day: str, client: str) -> bool:
        """Count an event, and check the limit of the client."""
        with self._lock:
            if day != self._day:
                self._day, self._events, self._full = day, {}, set()
            events = self._events.get(client, 0)
            if events >= self._limits.max_events_per_client:
                return False
            if not events and len(self._events) >= _MAX_CLIENTS:
                return False
            self._events[client] = events + 1
            return True

    def _write(self, kind: Kind, line: SearchLine | ClickLine) -> None:
        try:
            name = file_name(kind, line.time.partition("T")[0])
            line_bytes = line.model_dump_json().encode()
            append_line(self._folder / name, line_bytes, self._limits.max_bytes)
        except _DayFullError:
            self._count("limited")
            self._full.add(name)
            LOG.warning("feedback of the day is full", extra=log_fields(file=name))
        except OSError as error:
            self._count("failed")
            if not self._failure_logged:
                self._failure_logged = True
                LOG.warning("feedback not written", extra=log_fields(reason=error.strerror))
        else:
            self._count("written")
        finally:
            self._slots.release()
