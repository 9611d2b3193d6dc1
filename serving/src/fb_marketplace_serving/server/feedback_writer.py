"""Writer thread for feedback events."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Semaphore
from typing import Final, Literal

from fb_marketplace_serving.feedback.events import ClickLine, Kind, SearchLine, file_name
from fb_marketplace_serving.server.inference.threads import SEARCH_NICENESS, make_thread_pool
from fb_marketplace_serving.server.request_logging import LOG, log_fields

Outcome = Literal["written", "dropped", "failed"]

MAX_QUEUE_SIZE: Final = 1000
"""Maximum events waiting to be written: a few megabytes if every search returns a hundred listings."""

_MODE: Final = 0o640
"""Only the server's user and group may read search queries."""


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


def append_line(file: Path, line: bytes) -> None:
    """Append a line to a file, completely or not at all.

    Raises:
        OSError: it cannot be written; the file is unchanged.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, _MODE)
    try:
        before = os.fstat(descriptor).st_size
        # A killed server may have left a partial line: end it, so that it cannot corrupt the next.
        torn = before > 0 and os.pread(descriptor, 1, before - 1) != b"\n"
        data = b"\n" * torn + line + b"\n"
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
        self, folder: Path, count: Callable[[Outcome], None], queue_size: int = MAX_QUEUE_SIZE
    ) -> None:
        """Start the thread.

        Args:
            folder: folder to write to.
            count: called with the outcome of each event.
            queue_size: events that may wait; more are dropped.
        """
        self._folder = folder
        self._count = count
        self._slots = Semaphore(queue_size)
        self._thread = make_thread_pool(1, "feedback", SEARCH_NICENESS)
        self._failure_logged = False

    def add(self, kind: Kind, line: SearchLine | ClickLine) -> bool:
        """Queue an event.

        Returns:
            Whether the event was queued. False if the queue is full or closed.
        """
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

    def _write(self, kind: Kind, line: SearchLine | ClickLine) -> None:
        try:
            day = line.time.partition("T")[0]
            append_line(self._folder / file_name(kind, day), line.model_dump_json().encode())
        except OSError as error:
            self._count("failed")
            if not self._failure_logged:
                self._failure_logged = True
                LOG.warning("feedback not written", extra=log_fields(reason=error.strerror))
        else:
            self._count("written")
        finally:
            self._slots.release()
