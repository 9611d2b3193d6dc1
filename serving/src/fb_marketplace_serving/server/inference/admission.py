"""Admission control: bounds the work in flight and rejects excess requests early."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

UPLOADS_PER_SLOT: Final = 4
"""Maximum uploads per slot. Uploads are cheap but may be slow: if each took a slot, a few slow clients
would block all others."""


class CapacityExceeded(Exception):  # noqa: N818 - a state reported to the client
    """All slots are taken."""

    def __init__(self, taken: int) -> None:
        super().__init__(f"Server is at capacity ({taken} requests in flight). Retry later.")


class Admission:
    """Slots for work and for uploads. Not thread-safe: use from one event loop.

    Attributes:
        in_flight: slots taken.
        uploads: uploads in progress.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._max_uploads = slots * UPLOADS_PER_SLOT
        self.in_flight = 0
        self.uploads = 0

    @contextmanager
    def upload(self) -> Iterator[None]:
        """Count an upload.

        Raises:
            CapacityExceeded: all slots are taken, or too many uploads are in progress.
        """
        self._check_capacity()
        if self.uploads >= self._max_uploads:
            raise CapacityExceeded(self.uploads)
        self.uploads += 1
        try:
            yield
        finally:
            self.uploads -= 1

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Take a slot.

        Raises:
            CapacityExceeded: all slots are taken.
        """
        self._check_capacity()
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def _check_capacity(self) -> None:
        if self.in_flight >= self._slots:
            raise CapacityExceeded(self.in_flight)
