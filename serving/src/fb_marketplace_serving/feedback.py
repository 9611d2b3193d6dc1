"""Searches and clicks, written down to learn from: what a line holds, and who writes it.

A folder holds a file a day (UTC) of each kind, ``searches-YYYY-MM-DD.jsonl`` and
``clicks-YYYY-MM-DD.jsonl``. The pipeline reads them by the same models as the server writes them by.
"""

import os
import tempfile
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Semaphore
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fb_marketplace_serving.request_log import LOG, told
from fb_marketplace_serving.workers import workers

Kind = Literal["searches", "clicks"]
Fate = Literal["written", "dropped", "failed"]

LARGEST_QUEUE: Final = 1000
"""Lines that wait to be written: some megabytes, if each search shows a hundred listings."""

_MODE: Final = 0o640
"""What people typed is for the server's user and group alone."""

SearchId = Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="as a search gave it")]
ProductId = Annotated[str, Field(min_length=1, max_length=64)]


class _Line(BaseModel):
    # What a later version adds is left out, so that old and new lines may lie in one folder.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class FiltersAsked(_Line):
    """What a search was narrowed to, and how it was sorted; see the parameters of ``/search``."""

    categories: list[str] = []
    min_price: float | None = None
    max_price: float | None = None
    near: str | None = None
    radius_km: float | None = None
    has_photo: bool | None = None
    sort: str = "best"
    spread: float = 0.0


def _each_once(shown: list[str]) -> list[str]:
    if len(set(shown)) != len(shown):
        raise ValueError("found a listing twice on a page; expected each once")
    return shown


class SearchLine(_Line):
    """A page of a search by words.

    Attributes:
        search_id: its name.
        time: when it was answered, ISO 8601, UTC.
        release: what answered it.
        words: what was typed.
        filters: what else was asked.
        offset: hits on the pages before it.
        shown: the listings on it, in order.
    """

    search_id: SearchId
    time: str
    release: str
    words: Annotated[str, Field(min_length=1)]
    filters: FiltersAsked
    offset: Annotated[int, Field(ge=0)]
    shown: Annotated[list[str], AfterValidator(_each_once)]


class ClickLine(_Line):
    """A listing of a page that was opened.

    Attributes:
        search_id: the page.
        time: when, ISO 8601, UTC.
        product_id: the listing.
    """

    search_id: SearchId
    time: str
    product_id: ProductId


def new_search_id() -> str:
    """Name a search; nobody can tell from it who searched, nor that two searches are one person's."""
    return uuid.uuid4().hex


def now() -> str:
    """Give the time as a line has it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def file_name(kind: Kind, day: str) -> str:
    """Name the file of a day, ``YYYY-MM-DD``; with ``*`` for the day, the pattern of all."""
    return f"{kind}-{day}.jsonl"


def writable(folder: Path) -> Path:
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


def append(file: Path, line: bytes) -> None:
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


class FeedbackLog:
    """Writes lines on a thread of its own, in the order in which they come. Safe to share between threads.

    What it cannot write is counted, and said once on the log; it fails no request, and holds none up.
    """

    def __init__(
        self, folder: Path, count: Callable[[Fate], None], queue: int = LARGEST_QUEUE
    ) -> None:
        """Take the folder, what is told of each line's fate, and how many lines may wait."""
        self._folder = folder
        self._count = count
        self._places = Semaphore(queue)
        self._writer = workers(1, "feedback")
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
            append(self._folder / file_name(kind, day), line.model_dump_json().encode())
        except OSError as error:
            self._count("failed")
            if not self._said:
                self._said = True
                LOG.warning("feedback not written", extra=told(why=error.strerror))
        else:
            self._count("written")
        finally:
            self._places.release()
