"""Writer thread for feedback events."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Semaphore
from typing import Final, Literal

from fb_marketplace_serving.feedback.events import ClickLine, Kind, SearchLine, file_name
from fb_marketplace_serving.server.inference.threads import make_thread_pool
from fb_marketplace_serving.server.request_logging import LOG, log_fields

Outcome = Literal["written", "dropped", "failed"]

MAX_QUEUE_SIZE: Final = 1000
"""Lines that wait to be written: some megabytes, if each search shows a hundred listings."""

_MODE: Final = 0o640
"""What people typed is for the server's user and group alone."""


def check_writable(folder: Path) -> Path:
    """Make a folder, if it is not there, and prove that it can be written.

    Raises:
        ValueError: it cannot; says why.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise ValueError(f"expected a folder that can be written ({error.strerror})") from None


def append_line(file: Path, line: bytes) -> None:
    """Add a line to a file: all of it or nothing.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, _MODE)
    try:
        before = os.fstat(descriptor).st_size
        # A server that was killed may have left half a line: it is ended, and spoils no other.
        torn = before > 0 and os.pread(descriptor, 1, before - 1) != b"\n"
        whole = b"\n" * torn + line + b"\n"
        written = os.write(descriptor, whole)
        if written != len(whole):
            os.ftruncate(descriptor, before)
            raise OSError(0, f"found room for {written:,} of {len(whole):,} bytes")
    finally:
        os.close(descriptor)


class FeedbackWriter:
    """Writes lines on a thread of its own, in the order in which they come. Safe to share between threads.

    What it cannot write is counted, and said once on the log; it fails no request, and holds none up.
    """

    def __init__(
        self, folder: Path, count: Callable[[Outcome], None], queue: int = MAX_QUEUE_SIZE
    ) -> None:
        """Take the folder, what is told of each line's fate, and how many lines may wait."""
        self._folder = folder
        self._count = count
        self._places = Semaphore(queue)
        self._writer = make_thread_pool(1, "feedback")
        self._said = False

    def add(self, kind: Kind, line: SearchLine | ClickLine) -> bool:
        """Have a line written; says whether there was a place for it in the queue."""
        if not self._places.acquire(blocking=False):
            self._count("dropped")
            return False
        try:
            self._writer.submit(self._write, kind, line)
        except RuntimeError:  # It was closed: the server stops.
            self._places.release()
            self._count("dropped")
            return False
        return True

    def close(self) -> None:
        """Write what waits, and let the thread go."""
        self._writer.shutdown(wait=True)

    def _write(self, kind: Kind, line: SearchLine | ClickLine) -> None:
        try:
            day = line.time.partition("T")[0]
            append_line(self._folder / file_name(kind, day), line.model_dump_json().encode())
        except OSError as error:
            self._count("failed")
            if not self._said:
                self._said = True
                LOG.warning("feedback not written", extra=log_fields(why=error.strerror))
        else:
            self._count("written")
        finally:
            self._places.release()
