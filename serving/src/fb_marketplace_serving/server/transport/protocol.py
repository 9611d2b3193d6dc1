"""HTTP/1.1 with limits.

uvicorn parses with httptools, which is fast but accepts headers of any size, sent over any time. This
protocol counts and times the input of the parser. A proxy in front of the server should have the same
limits, but the server does not depend on one.

A client that sends slowly costs little: the parser starts when the headers are complete, and the
application when the body is complete or large. Complete headers are parsed in fair turns of all addresses.
"""

import re
from asyncio import AbstractEventLoop, Transport
from functools import cache, partial
from typing import Any, Final, Literal

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from fb_marketplace_serving.server.auth import ANONYMOUS, network_of
from fb_marketplace_serving.server.errors import MEDIA_TYPE, problem_details
from fb_marketplace_serving.server.transport.connections import (
    ConnectionLimits,
    Connections,
    Reason,
)

_CHUNK_OVERHEAD: Final = 6
"""Bytes on the wire per byte of a body in chunks of one byte. More are chunk extensions or trailers."""

_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_NO_METHOD: Final = re.compile(rb"[^A-Z]")

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
    "body_timeout": (
        408,
        f"Neither the body nor its first {HIGH_WATER_LIMIT:,} bytes arrived "
        "within {limits.body_timeout:g} s.",
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
        since: start of waiting, headers or body, or of discarding input.
    """

    server_state: Connections

    def __init__(
        self,
        config: Config,
        server_state: Connections,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        # uvicorn's part is prepared with the first complete headers: connections without any cost little.
        self._arguments = config, server_state, app_state, _loop
        self.parser = None  # type: ignore[assignment]
        self.cycle = None  # type: ignore[assignment]
        self.server_state = server_state
        self.address = ANONYMOUS
        self._limits = server_state.limits
        self._phase: Phase = "idle"
        self.since = 0.0
        self._head = b""  # headers that are not parsed yet
        self._has_turn = True  # else a call of :meth:`_parse_head` is queued
        self._is_paused = False
        self._head_bytes = 0
        self._wire_bytes = self._body_bytes = 0
        self._window_start, self._window_bytes = 0.0, 0
        self._requests = 0
        self._deferred: ASGI3Application | None = None  # called once there is enough of the body
        self._unwritten_since: float | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Accept the connection. At the limit, it replaces a waiting one, or is rejected."""
        self.transport = transport
        peer = transport.get_extra_info("peername")
        self.address = network_of(peer[0]) if peer else ANONYMOUS
        state = self.server_state
        self.since = state.time()
        state.add(self)
        if len(state.connections) > self._limits.max_connections and not state.make_room():
            self._refuse("full")
        else:
            state.waiting[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.server_state.remove(self)
        self._phase, self._head, self._deferred = "refused", b"", None
        if self.parser:
            self.pipeline.clear()
            super().connection_lost(exc)
        # It refers to this connection. In a flood, the garbage collector would stop the server for long.
        self.cycle = None  # type: ignore[assignment]

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
        if self._phase == "body":
            self._wire_bytes += len(data)
            self._parse(data)
            return
        self._head_bytes += len(data)
        if self._phase == "head" and not self._head:
            self._parse(data)  # The parser has the beginning of these headers.
            return
        if not self._head:
            data = data.lstrip(b"\r\n")
        searched = max(0, len(self._head) - 2)
        self._head += data
        if not self._has_turn:
            if not self._is_paused and len(self._head) > self._limits.max_header_bytes:
                self._is_paused = True
                self.transport.pause_reading()
        elif (
            _NO_METHOD.match(self._head)
            or _BLANK_LINE.search(self._head, searched)
            or self._head_bytes > self._limits.max_header_bytes
        ):
            self._has_turn = False
            self.server_state.turns.run(self.address, self._parse_head)
        elif self._head and self._phase == "idle":
            self._phase = "head"
            self.server_state.renew(self)

    def _parse_head(self) -> None:
        """Parse the headers, and all that has followed them, or refuse what cannot be headers."""
        if self._phase == "refused" or self.transport.is_closing():
            return
        data, self._head, self._has_turn = self._head, b"", True
        if self._is_paused:
            self._is_paused = False
            self.transport.resume_reading()
        if _NO_METHOD.match(data):
            self._refuse("malformed")
            return
        if not self.parser:
            transport = self.transport
            super().__init__(*self._arguments)
            super().connection_made(transport)
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # No WebSockets, no HTTP/2: the request was answered as plain HTTP/1.1.
        except httptools.HttpParserError as error:
            self._refuse(_reason(error))
            return
        if self._phase == "body":
            if not self.cycle.response_complete and not self.pipeline:
                self.server_state.uploading.setdefault(self)
            overhead = self._wire_bytes - _CHUNK_OVERHEAD * self._body_bytes
        else:
            overhead = self._head_bytes
        if overhead > self._limits.max_header_bytes:
            self._refuse("headers_too_large")
        else:
            self._send_continue()

    def _send_continue(self) -> None:
        """Request the body of a client that expects that. The application is called when it has arrived."""
        if self._deferred and self.cycle.waiting_for_100_continue:
            self.cycle.waiting_for_100_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_message_begin(self) -> None:
        """Start the time of the headers."""
        super().on_message_begin()
        if self._phase != "head":
            self._phase = "head"
            self.server_state.renew(self)
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
        self._wire_bytes = self._body_bytes = 0
        self._start_body()

    def _start_body(self) -> None:
        """Start the time of the body."""
        self.server_state.renew(self)
        self._window_start, self._window_bytes = self.since, 0

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Call the application if the body is complete or large, else when it is."""
        if cycle.more_body and len(cycle.body) < HIGH_WATER_LIMIT:
            self._deferred = app
        else:  # It has waited for the response to an earlier request.
            self.server_state.renew(self)
            self.server_state.waiting[self] = None  # It may be closed to make room.
            waiting = partial(self._start_waiting, cycle, app)
            self.server_state.pipelined_turns.run(self.address, waiting)

    def _start_waiting(self, cycle: RequestResponseCycle, app: ASGI3Application) -> bool:
        """Start a request; False if the connection has been closed or refused meanwhile."""
        if self._phase == "refused" or self.transport.is_closing():
            return False
        self.server_state.waiting.pop(self, None)
        super()._start_asgi_task(cycle, app)
        return True

    def _start_deferred(self) -> None:
        app, self._deferred = self._deferred, None
        if app:
            super()._start_asgi_task(self.cycle, app)

    def on_body(self, body: bytes) -> None:
        """Count a part of the body."""
        self._body_bytes += len(body)
        self._window_bytes += len(body)
        super().on_body(body)
        if len(self.cycle.body) >= HIGH_WATER_LIMIT:
            self._start_deferred()

    def on_message_complete(self) -> None:
        """Wait for the next request."""
        super().on_message_complete()
        self._start_deferred()
        self.server_state.uploading.pop(self, None)
        self._phase, self._head_bytes = "idle", 0
        self.server_state.renew(self)
        if self.cycle.response_complete:
            self.server_state.waiting[self] = None

    def on_response_complete(self) -> None:
        """Start the time of the next request, or of the rest of the body, or of a pipelined body."""
        super().on_response_complete()
        self._unset_keepalive_if_required()  # It would close a request in progress: see check_time.
        if self.transport.is_closing():
            return
        if self.cycle.response_complete:
            self.since = self.server_state.time()
            self.server_state.forget(self)
            self.server_state.waiting[self] = None
        elif self._phase == "body" and not self.pipeline:
            # Until now, the client could not send it: the server did not read, or had not requested it.
            self._start_body()
            self.server_state.uploading[self] = None
            self._send_continue()

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: a server may ignore any request to upgrade."""

    def check_time(self, now: float) -> None:
        """Close the connection if it has exceeded a time limit.

        Args:
            now: time of the event loop.
        """
        limits, seconds = self._limits, now - self.since
        if self._takes_too_long_to_read(now):
            self.abort()
        elif self.transport.is_closing():
            return
        elif self._phase == "refused":
            if seconds > limits.linger:
                self.abort()
        elif self._phase == "body":
            self._check_body(now)
        elif self._has_turn and (self.cycle is None or self.cycle.response_complete):
            if self._phase == "head":
                if seconds > limits.header_timeout:
                    self._refuse("slow_headers")
            elif seconds > (limits.keep_alive if self.cycle else limits.header_timeout):
                self.transport.close()

    def _check_body(self, now: float) -> None:
        limits, seconds = self._limits, now - self.since
        if self.cycle.response_complete:
            if seconds > limits.drain_seconds:
                self.abort()
        elif self.pipeline:
            return  # The time of the body starts after the response to the earlier request.
        elif self._is_slow(now):
            self._refuse("slow_upload")
        elif self._deferred and seconds > limits.body_timeout:
            self._refuse("body_timeout")

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
        self._phase, self.since = "refused", self.server_state.time()
        self._deferred = None
        if self.parser:
            self.flow.resume_reading()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or self.pipeline:
                self.abort()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write(_response(reason, self._limits))
        if reason == "full":
            # Other connections are waiting: do not linger.
            self.server_state.remove(self)
            self.transport.close()
            return
        self.transport.write_eof()
        self.server_state.waiting[self] = None


def _reason(error: httptools.HttpParserError) -> Reason:
    # Not where the error is caught: a variable with its cause would be a cycle of garbage.
    cause = error.__context__
    return cause.reason if isinstance(cause, _LimitError) else "malformed"


@cache
def _response(reason: Reason, limits: ConnectionLimits) -> bytes:
    status, detail = _STATUSES[reason]
    body = problem_details(status, detail.format(limits=limits), reason)
    content = body.model_dump_json().encode()
    headers = {
        "content-type": MEDIA_TYPE,
        "content-length": len(content),
        "connection": "close",
    }
    if status == 503:
        headers["retry-after"] = 1
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[status] + lines.encode() + b"\r\n" + content
