"""HTTP/1.1 with limits.

uvicorn parses with httptools, which is fast but accepts headers of any size, sent over any time. This
protocol counts and times the input of the parser. A proxy in front of the server should have the same
limits, but the server does not depend on one.
"""

from asyncio import AbstractEventLoop, Transport
from typing import Any, Final, Literal

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from fb_marketplace_serving.server.auth import ANONYMOUS, network_of
from fb_marketplace_serving.server.errors import MEDIA_TYPE, problem_details
from fb_marketplace_serving.server.transport.connections import Connections, Reason

_CHUNK_OVERHEAD: Final = 6
"""Bytes on the wire per byte of a body in chunks of one byte. More are chunk extensions or trailers."""

Phase = Literal["head", "body", "idle", "refused"]

_STATUSES: Final[dict[Reason, tuple[int, str]]] = {
    "malformed": (400, "The request is not valid HTTP/1.1."),
    "url_too_long": (414, "The URL is longer than the {limits.max_header_bytes:,} bytes allowed."),
    "headers_too_large": (
        431,
        "There are more than {limits.max_headers} headers, or they are larger than "
        "{limits.max_header_bytes:,} bytes.",
    ),
    "slow_headers": (408, "The headers did not arrive within {limits.header_timeout:g} s."),
    "slow_upload": (
        408,
        "The body arrived at less than {limits.min_upload_rate:,} bytes per second.",
    ),
    "full": (503, "Server is at capacity ({limits.max_connections} connections). Retry later."),
}


class _LimitError(Exception):
    def __init__(self, reason: Reason) -> None:
        self.reason = reason


class LimitedHttpProtocol(HttpToolsProtocol):
    """A connection. All times are checked once a second by :meth:`Connections.sweep`.

    Attributes:
        address: address of the client; for IPv6, its network.
    """

    server_state: Connections

    def __init__(
        self,
        config: Config,
        server_state: Connections,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.address = ANONYMOUS
        self._limits = server_state.limits
        self._phase: Phase = "idle"
        self._since = 0.0  # start of the phase
        self._head_bytes = 0
        self._wire_bytes = self._body_bytes = 0
        self._window_start, self._window_bytes = 0.0, 0
        self._requests = 0
        self._unwritten_since: float | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Accept the connection. At the limit, it replaces a waiting one, or is rejected."""
        super().connection_made(transport)
        self.address = network_of(self.client[0]) if self.client else ANONYMOUS
        self._since = self.loop.time()
        state = self.server_state
        state.add(self)
        if len(state.connections) > self._limits.max_connections and not state.make_room():
            self._refuse("full")
        else:
            state.waiting[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.server_state.remove(self)
        self.pipeline.clear()
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close the connection at once."""
        self.server_state.remove(self)
        self.transport.abort()

    @property
    def is_sending(self) -> bool:
        """Whether the client has not yet taken all of a response."""
        return self.transport.get_write_buffer_size() > 0

    def data_received(self, data: bytes) -> None:
        """Parse input within the limits."""
        if self._phase == "refused":
            return
        self._unset_keepalive_if_required()
        if self._phase == "body":
            self._wire_bytes += len(data)
        else:
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # No WebSockets, no HTTP/2: the request was answered as plain HTTP/1.1.
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause.reason if isinstance(cause, _LimitError) else "malformed")
            return
        if self._phase == "body":
            if not self.cycle.response_complete:
                self.server_state.uploading.setdefault(self)
            overhead = self._wire_bytes - _CHUNK_OVERHEAD * self._body_bytes
        else:
            overhead = self._head_bytes
        if overhead > self._limits.max_header_bytes:
            self._refuse("headers_too_large")

    def on_message_begin(self) -> None:
        """Start the time of the headers."""
        super().on_message_begin()
        if self._phase != "head":
            self._phase, self._since = "head", self.loop.time()
        self._header_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Collect a part of the URL."""
        super().on_url(url)
        if len(self.url) > self._limits.max_header_bytes:
            raise _LimitError("url_too_long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header, or a trailer of a chunked body."""
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value) + 4
        limits = self._limits
        if (
            self._header_bytes + len(self.url) > limits.max_header_bytes
            or len(self.headers) > limits.max_headers
        ):
            raise _LimitError("headers_too_large")

    def on_headers_complete(self) -> None:
        """Start the request, and the time of its body."""
        if len(self.pipeline) >= self._limits.max_pipelined:
            raise _LimitError("malformed")
        super().on_headers_complete()
        self.server_state.waiting.pop(self, None)
        self._requests += 1
        if self._requests >= self._limits.max_requests:
            self.cycle.keep_alive = False
        self._phase, self._head_bytes = "body", 0
        self._wire_bytes = self._body_bytes = self._window_bytes = 0
        self._since = self._window_start = self.loop.time()

    def on_body(self, body: bytes) -> None:
        """Count a part of the body."""
        self._body_bytes += len(body)
        self._window_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the next request."""
        super().on_message_complete()
        self.server_state.uploading.pop(self, None)
        self._phase, self._head_bytes = "idle", 0
        self._since = self.loop.time()
        if self.cycle.response_complete:
            self.server_state.waiting[self] = None

    def on_response_complete(self) -> None:
        """Start the time of the next request, or of the rest of the body."""
        super().on_response_complete()
        if not self.transport.is_closing() and self.cycle.response_complete:
            self._since = self.loop.time()
            self.server_state.forget(self)
            self.server_state.waiting[self] = None

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: a server may ignore any request to upgrade."""

    def check_time(self, now: float) -> None:
        """Close the connection if it has exceeded a time limit.

        Args:
            now: time of the event loop.
        """
        limits, seconds = self._limits, now - self._since
        if self._takes_too_long_to_read(now):
            self.abort()
        elif self.transport.is_closing():
            return
        elif self._phase == "refused":
            if seconds > limits.linger:
                self.abort()
        elif self._phase == "body":
            if self.cycle.response_complete:
                if seconds > limits.drain_seconds:
                    self.abort()
            elif self._is_slow(now):
                self._refuse("slow_upload")
        elif self._is_waiting() and seconds > limits.header_timeout:
            if self._phase == "head":
                self._refuse("slow_headers")
            else:
                self.transport.close()

    def _is_waiting(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _is_slow(self, now: float) -> bool:
        """Check the rate of the body in the last window. Time when the server did not read is left out."""
        seconds = now - self._window_start
        if self.flow.read_paused:
            self._window_start, self._window_bytes = now, 0
        elif seconds >= self._limits.rate_window:
            is_slow = self._window_bytes < self._limits.min_upload_rate * seconds
            self._window_start, self._window_bytes = now, 0
            return is_slow
        return False

    def _takes_too_long_to_read(self, now: float) -> bool:
        if not self.is_sending:
            self._unwritten_since = None
        elif self._unwritten_since is None:
            self._unwritten_since = now
        else:
            return now - self._unwritten_since > self._limits.write_timeout
        return False

    def _refuse(self, reason: Reason) -> None:
        """Answer with an error, then discard all input until the client closes the connection."""
        self.server_state.count(reason)
        self.server_state.forget(self)
        self._phase, self._since = "refused", self.loop.time()
        self._unset_keepalive_if_required()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or self.pipeline:
                self.abort()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        status, detail = _STATUSES[reason]
        body = problem_details(status, detail.format(limits=self._limits), reason)
        content = body.model_dump_json().encode()
        headers = {
            "content-type": MEDIA_TYPE,
            "content-length": len(content),
            "connection": "close",
        }
        if status == 503:
            headers["retry-after"] = 1
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[status] + lines.encode() + b"\r\n" + content)
        if reason == "full":
            # Other connections are waiting: do not linger.
            self.server_state.remove(self)
            self.transport.close()
            return
        self.flow.resume_reading()
        self.transport.write_eof()
        self.server_state.waiting[self] = None
