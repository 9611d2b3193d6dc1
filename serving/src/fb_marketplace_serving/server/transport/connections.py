"""Limits on connections, and the connections of a server."""

import math
import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from heapq import merge
from time import monotonic
from typing import TYPE_CHECKING, Final, Literal

from uvicorn.server import ServerState

from fb_marketplace_serving.server.request_logging import LOG
from fb_marketplace_serving.server.transport.turns import FairTurns

if TYPE_CHECKING:
    from fb_marketplace_serving.server.transport.protocol import LimitedHttpProtocol

Reason = Literal[
    "malformed",
    "url_too_long",
    "headers_too_large",
    "slow_headers",
    "slow_upload",
    "body_timeout",
    "evicted",
    "full",
]
"""Why a connection was closed."""

_RESERVED_FILES: Final = 256
"""Files other than connections: uploads in the temporary folder, photos, the lake."""

_MAX_BACKLOG: Final = 512
"""Connections that wait in the kernel. A whole backlog may be accepted before any connection is closed."""

PIPELINED_PAUSE: Final = 0.002
"""Seconds between the starts of pipelined requests of all clients. Browsers send none, and a few
connections could send thousands a second."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits on connections.

    Attributes:
        max_connections: open connections. At the limit, a new one replaces another; see
            :meth:`Connections.make_room`.
        backlog: connections that wait to be accepted.
        max_header_bytes: size of the URL, and of the URL with all headers.
        max_headers: number of headers.
        header_timeout: seconds until all headers must have arrived.
        keep_alive: seconds that a connection may idle between requests.
        max_requests: requests on one connection.
        max_pipelined: requests that wait for the response to an earlier one of the connection.
        min_upload_rate: bytes per second of a request body.
        body_timeout: seconds until a small body is complete, or a large one has begun.
        rate_window: seconds over which that rate is measured.
        drain_seconds: seconds to finish a body that the server has answered without reading it.
        write_timeout: seconds for a client to take a response.
        linger: seconds to discard input after an error, so that the client can read the response.
    """

    max_connections: int = 1000
    backlog: int = _MAX_BACKLOG
    max_header_bytes: int = 65_536
    max_headers: int = 128
    header_timeout: float = 10.0
    keep_alive: int = 5
    max_requests: int = 1000
    max_pipelined: int = 16
    min_upload_rate: int = 1024
    body_timeout: float = 10.0
    rate_window: float = 5.0
    drain_seconds: float = 5.0
    write_timeout: float = 60.0
    linger: float = 2.0


def fit_open_files(max_connections: int) -> tuple[int, int]:
    """Return the connections and the backlog that this process may have open at once.

    The process's limit on open files is raised as far as its hard limit allows.

    Args:
        max_connections: the number of connections to allow.

    Returns:
        The number of connections, at most ``max_connections``, and the backlog.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = max_connections + _MAX_BACKLOG + _RESERVED_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    files = needed if soft == resource.RLIM_INFINITY else soft
    backlog = max(1, min(_MAX_BACKLOG, files // 4))
    return max(1, min(max_connections, files - backlog - _RESERVED_FILES)), backlog


class Connections(ServerState):
    """The connections of a server, for uvicorn and for :class:`LimitedHttpProtocol`.

    Attributes:
        limits: limits on them.
        waiting: connections without the headers of a request, the longest waiting first.
        uploading: connections without the complete body of a request, the longest uploading first.
        count_by_client: number of connections of each client address.
        turns: turns of the client addresses to have a request parsed and started.
        pipelined_turns: turns to start a request that has waited for the response to an earlier one.
        count: called with the reason when a connection is closed early.
        time: returns the time of the event loop.
    """

    def __init__(
        self,
        limits: ConnectionLimits,
        count: Callable[[Reason], None],
        time: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__()
        self.limits = limits
        self.waiting: dict[LimitedHttpProtocol, None] = {}
        self.uploading: dict[LimitedHttpProtocol, None] = {}
        self.count_by_client: Counter[str] = Counter()
        self.turns = FairTurns()
        self.pipelined_turns = FairTurns(1, PIPELINED_PAUSE)
        self.count = count
        self.time = time
        self._unchecked: list[LimitedHttpProtocol] = []
        self._checks = 0

    def forget(self, connection: "LimitedHttpProtocol") -> None:
        """Remove a connection from those that may be closed to make room."""
        self.waiting.pop(connection, None)
        self.uploading.pop(connection, None)

    def renew(self, connection: "LimitedHttpProtocol") -> None:
        """Start the time of a connection. It becomes the last of those that may be closed to make room."""
        connection.since = self.time()
        for queue in self.waiting, self.uploading:
            if connection in queue:
                del queue[connection]
                queue[connection] = None

    def add(self, connection: "LimitedHttpProtocol") -> None:
        """Count a new connection."""
        self.connections.add(connection)
        self.count_by_client[connection.address] += 1

    def remove(self, connection: "LimitedHttpProtocol") -> None:
        """Stop counting a connection, which is closed or about to be."""
        self.forget(connection)
        if connection in self.connections:
            self.connections.remove(connection)
            self.count_by_client[connection.address] -= 1
            if not self.count_by_client[connection.address]:
                del self.count_by_client[connection.address]

    def make_room(self) -> bool:
        """Close the connection that has waited or uploaded longest.

        The address with the most connections loses one if it has one of these. Of its connections, those
        whose client still reads a response are closed last.

        Returns:
            Whether there was one.
        """
        most = max(self.count_by_client.values(), default=0)
        candidates: dict[tuple[bool, bool], LimitedHttpProtocol] = {}
        for connection in merge(self.waiting, self.uploading, key=lambda item: item.since):
            rank = self.count_by_client[connection.address] < most, connection.is_sending
            candidates.setdefault(rank, connection)
            if not any(rank):
                break
        if not candidates:
            return False
        self.count("evicted")
        candidates[min(candidates)].abort()
        return True

    def sweep(self, parts: int = 1) -> None:
        """Close connections that have exceeded a time limit.

        Args:
            parts: checks one of this many parts of the connections. Connections that were opened together
                are in different parts, so that they are not all closed at once.
        """
        if not self._unchecked:
            self._unchecked = list(self.connections)  # type: ignore[arg-type]
            self._checks = math.ceil(len(self._unchecked) / parts)
        now = self.time()
        for _ in range(min(self._checks, len(self._unchecked))):
            connection = self._unchecked.pop()
            if connection in self.connections:
                try:
                    connection.check_time(now)
                except Exception:  # noqa: BLE001 - other connections are still checked
                    LOG.exception("a connection could not be checked and was closed")
                    connection.abort()
