"""How much work is taken on at once. What is more is turned away at once, while it costs nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

UPLOADS_PER_SLOT: Final = 4
"""Uploads that may be coming in for each place. They cost next to nothing, and come as slowly as they
please: if each held a place, a few slow ones would keep all others out."""


class CapacityExceeded(Exception):  # noqa: N818 - a state that the client is told of
    """There is no place now."""

    def __init__(self, taken: int) -> None:
        super().__init__(f"{taken} requests are being worked on, as many as are taken on at once")


class Admission:
    """Counts the places for work, and the uploads that may ask for one. For one event loop."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._uploads = places * UPLOADS_PER_SLOT
        self.working = 0
        self.uploading = 0

    @contextmanager
    def upload(self) -> Iterator[None]:
        """Let an upload in.

        Raises:
            Full: what is uploaded could not be worked on as things stand.
        """
        self._refuse_where_full()
        if self.uploading >= self._uploads:
            raise CapacityExceeded(self.uploading)
        self.uploading += 1
        try:
            yield
        finally:
            self.uploading -= 1

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place to work.

        Raises:
            Full: all are taken.
        """
        self._refuse_where_full()
        self.working += 1
        try:
            yield
        finally:
            self.working -= 1

    def _refuse_where_full(self) -> None:
        if self.working >= self._places:
            raise CapacityExceeded(self.working)
