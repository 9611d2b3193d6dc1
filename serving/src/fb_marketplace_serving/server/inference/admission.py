"""Admission control: bounds the work in flight and rejects excess requests early."""

import asyncio
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PROMPT_ANSWERS: Final = 20
"""Rejections and clicks of a client within a second that are answered at once."""

PAUSE: Final = 0.25
"""Seconds until a further one is answered."""


class CapacityExceeded(Exception):  # noqa: N818 - a state reported to the client
    """All slots are taken."""


class ClientShareExceeded(CapacityExceeded):
    """The client holds its share of the slots."""


class Admission:
    """Slots for one kind of work. Not thread-safe: use from one event loop.

    Kinds do not share slots: however many photos are sent, searches are accepted.

    Attributes:
        taken: slots taken.
    """

    def __init__(self, slots: int, client_share: float = 1.0) -> None:
        """Create free slots.

        Args:
            slots: number of slots.
            client_share: largest share of the slots that one client may hold.
        """
        self._slots = slots
        self._per_client = max(1, math.floor(slots * client_share))
        self._clients: Counter[str] = Counter()
        self.taken = 0

    def check(self, client: str) -> None:
        """Check that a slot is free for a client.

        Raises:
            CapacityExceeded: all slots are taken.
            ClientShareExceeded: the client holds its share.
        """
        if self.taken >= self._slots:
            raise CapacityExceeded(
                f"Server is at capacity ({self.taken} requests in flight). Retry later."
            )
        if self._clients.get(client, 0) >= self._per_client:
            raise ClientShareExceeded(
                f"You have {self._per_client} requests in flight, the maximum. Wait for their responses."
            )

    @contextmanager
    def slot(self, client: str) -> Iterator[None]:
        """Take a slot for a client; see :meth:`check` for the errors."""
        self.check(client)
        self.taken += 1
        self._clients[client] += 1
        try:
            yield
        finally:
            self.taken -= 1
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]


class Pace:
    """Delay of answers to clients with many rejected requests or clicks. Not thread-safe.

    Rejecting a request is cheap, but thousands per second would delay the requests of others.
    """

    def __init__(self) -> None:
        self._clients: Counter[str] = Counter()
        self._second = 0.0

    async def wait(self, client: str) -> float:
        """Wait before an answer to a client that had too many within this second.

        Returns:
            The seconds of the wait.
        """
        now = asyncio.get_running_loop().time()
        if now - self._second >= 1:
            self._clients.clear()
            self._second = now
        self._clients[client] += 1
        if self._clients[client] <= PROMPT_ANSWERS:
            return 0.0
        await asyncio.sleep(PAUSE)
        return asyncio.get_running_loop().time() - now
