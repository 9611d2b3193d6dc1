"""A proxy between S3 clients and a server that injects faults.

What becomes of a request is drawn from a seed, its method, its URL and how often that was asked, so that
the order in which requests come at once changes nothing.
"""

import argparse
import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from support.seaweed import HOST

MIX: Final[Mapping[str, float]] = {
    "slow_down": 3,
    "internal_error": 2,
    "reset": 2,
    "short": 2,
    "lost": 1,
    "late_error": 1,
    "slow": 1,
    "hung": 0.1,
}
"""How often each fault comes, beside the others.

``slow_down`` and ``internal_error`` are answered by the proxy, the server never hears of the request.
``reset`` and ``short`` end an answer in its middle, by a reset and in good order; ``lost`` ends it before
its first byte, and ``late_error`` puts a 500 in its place, when the server has done what was asked.
``slow`` holds an answer back for a while; ``hung`` for ever. ``denied``, a 403, comes by
:meth:`Faults.deny` alone, or by a mix of one's own.
"""

SLOW: Final = 0.5
"""Seconds that ``slow`` holds an answer back."""

_ERRORS: Final = {
    "slow_down": (503, "Slow Down", "SlowDown", "Please reduce your request rate."),
    "internal_error": (
        500,
        "Internal Server Error",
        "InternalError",
        "We encountered an internal error.",
    ),
    "denied": (403, "Forbidden", "AccessDenied", "Access Denied."),
}
_BODILESS: Final = {204, 304}
_HEAD_BYTES: Final = 65536


@dataclass
class Faults:
    """What is to go wrong, and what did.

    Attributes:
        rate: the part of requests that meets a fault, 0 to 1.
        seed: another one, other requests.
        mix: the faults, and how often each comes beside the others.
        times: how often the same request fails at most; None: no bound.
        latency: seconds that every request takes longer.
        only: tells by method and URL which requests may meet a fault.
        injected: how often each fault happened.
        requests: how many requests came.
    """

    rate: float = 0.0
    seed: int = 0
    mix: Mapping[str, float] = field(default_factory=lambda: dict(MIX))
    times: int | None = None
    latency: float = 0.0
    only: Callable[[str, str], bool] = lambda method, target: True
    injected: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    _denied_until: float = 0.0
    _asked: Counter[str] = field(default_factory=Counter)

    def begin(
        self,
        rate: float,
        mix: Mapping[str, float] = MIX,
        *,
        seed: int = 0,
        times: int | None = None,
        only: Callable[[str, str], bool] = lambda method, target: True,
    ) -> None:
        """Set the faults and reset the counters."""
        self.rate, self.mix, self.seed, self.times, self.only = rate, mix, seed, times, only
        self.injected.clear()
        self._asked.clear()
        self.requests, self._denied_until = 0, 0.0

    def deny(self, seconds: float) -> None:
        """Answer every request with 403 for a while from now."""
        self._denied_until = time.monotonic() + seconds

    def draw(self, method: str, target: str) -> str:
        """Return the fault of a request, or None."""
        self.requests += 1
        fault = self._drawn(f"{method} {target}") if self.only(method, target) else ""
        if fault:
            self.injected[fault] += 1
        return fault

    def _drawn(self, request: str) -> str:
        if time.monotonic() < self._denied_until:
            return "denied"
        if not self.rate:
            return ""
        self._asked[request] += 1
        if self.times is not None and self._asked[request] > self.times:
            return ""
        draw = random.Random(f"{self.seed} {request} {self._asked[request]}")
        if draw.random() >= self.rate:
            return ""
        return str(draw.choices(list(self.mix), list(self.mix.values()))[0])


@dataclass(frozen=True)
class FaultProxy:
    """A proxy that runs.

    Attributes:
        endpoint: its URL, for clients to take for the server's.
        faults: what goes wrong; it may be changed at any time.
    """

    endpoint: str
    faults: Faults


@contextlib.contextmanager
def running(upstream: str, faults: Faults | None = None) -> Iterator[FaultProxy]:
    """Stand before a server, in a thread, while the block lasts.

    Args:
        upstream: URL of the server.
        faults: what goes wrong; nothing, unless told.
    """
    faults = faults or Faults()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fault proxy", daemon=True)
    thread.start()
    try:
        port = asyncio.run_coroutine_threadsafe(_serve(upstream, faults), loop).result(10)
        yield FaultProxy(f"http://{HOST}:{port}", faults)
    finally:
        asyncio.run_coroutine_threadsafe(_end_all(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _serve(upstream: str, faults: Faults) -> int:
    server = _Upstream(upstream)
    listening = await asyncio.start_server(
        lambda reader, writer: _converse(reader, writer, server, faults),
        HOST,
        0,
        limit=_HEAD_BYTES,
        backlog=512,
    )
    return int(listening.sockets[0].getsockname()[1])


async def _end_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    upstream: "_Upstream",
    faults: Faults,
) -> None:
    """Answer the requests of one client's connection, until either side ends it."""
    try:
        while request := await _read_request(reader, writer):
            if faults.latency:
                await asyncio.sleep(faults.latency)
            if not await _answer(request, writer, upstream, faults):
                break
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


@dataclass(frozen=True)
class _Message:
    """A request or an answer: its first line and headers as they came, and its body."""

    head: bytes
    body: bytes

    @property
    def first_line(self) -> list[str]:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)


async def _answer(
    request: _Message, writer: asyncio.StreamWriter, upstream: "_Upstream", faults: Faults
) -> bool:
    """Answer a request, or fail it; says whether the connection goes on."""
    method, target, _ = request.first_line
    fault = faults.draw(method, target)
    if fault in _ERRORS:
        writer.write(_error(fault, target, with_body=method != "HEAD"))
        await writer.drain()
        return True
    if fault == "hung":
        # Until the client gives up or the proxy ends, whichever is first.
        with contextlib.suppress(ConnectionError):
            await asyncio.sleep(3600)
        return False
    answer = await upstream.ask(request, method)
    if fault == "late_error":
        writer.write(_error("internal_error", target, with_body=method != "HEAD"))
        await writer.drain()
        return True
    if fault == "slow":
        await asyncio.sleep(SLOW)
    if fault in {"lost", "reset", "short"}:
        # An answer without a body has no middle: it is lost.
        part = 0 if fault == "lost" or not answer.body else max(1, len(answer.body) // 2)
        if part:
            writer.write(answer.head + answer.body[:part])
            await writer.drain()
        if fault == "reset":
            _reset(writer)
        return False
    writer.write(answer.head + answer.body)
    await writer.drain()
    return True


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def _error(fault: str, target: str, with_body: bool) -> bytes:
    status, reason, code, message = _ERRORS[fault]
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message>"
        f"<Resource>{urlsplit(target).path}</Resource><RequestId>FAULT</RequestId></Error>"
    ).encode()
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/xml\r\n"
        f"Content-Length: {len(body)}\r\nx-amz-request-id: FAULT\r\n\r\n"
    ).encode()
    return head + body * with_body


async def _read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> _Message | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    headers = _headers(head)
    if headers.get(b"expect", b"").lower() == b"100-continue":
        # The proxy asks for the body itself, and the server is told nothing of it.
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = _without(head, b"expect")
    return _Message(head, await _read_body(reader, headers))


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[bytes, bytes]) -> bytes:
    """Read a body as it is on the wire, chunks and all."""
    if headers.get(b"transfer-encoding", b"").lower() != b"chunked":
        return await reader.readexactly(int(headers.get(b"content-length", b"0")))
    pieces = []
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        pieces += [line, await reader.readexactly(size + 2)]
        if not size:
            return b"".join(pieces)


def _headers(head: bytes) -> dict[bytes, bytes]:
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def _without(head: bytes, name: bytes) -> bytes:
    first, *lines = head.split(b"\r\n")
    return b"\r\n".join(
        [first, *(item for item in lines if not item.lower().startswith(name + b":"))]
    )


class _Upstream:
    """Connections to the server, reused."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or HOST, parts.port or 80
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, request: _Message, method: str) -> _Message:
        """Send a request as it came, its Host and so its signature included."""
        while self._idle:
            connection = self._idle.pop()
            try:
                return await self._ask_on(connection, request, method)
            except (ConnectionError, asyncio.IncompleteReadError):
                # It was ended while nobody asked; the next may be alive.
                connection[1].close()
        opened = await asyncio.open_connection(self._host, self._port, limit=_HEAD_BYTES)
        return await self._ask_on(opened, request, method)

    async def _ask_on(
        self,
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        request: _Message,
        method: str,
    ) -> _Message:
        reader, writer = connection
        writer.write(request.head + request.body)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        headers, status = _headers(head), int(head.split(b" ", 2)[1])
        bodiless = method == "HEAD" or status in _BODILESS
        body = b"" if bodiless else await _read_body(reader, headers)
        if headers.get(b"connection", b"").lower() == b"close":
            writer.close()
        else:
            self._idle.append(connection)
        return _Message(head, body)


def _main() -> None:
    """Stand before a server as a process of its own; prints the URL, and ends with its input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("upstream", help="URL of the server")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    parser.add_argument("--rate", type=float, default=0.0, help="part of requests that fail")
    parser.add_argument("--seed", type=int, default=0)
    output = parser.parse_args()
    faults = Faults(rate=output.rate, seed=output.seed, latency=output.latency)
    with running(output.upstream, faults) as proxy:
        print(proxy.endpoint, flush=True)  # noqa: T201
        with contextlib.suppress(EOFError, KeyboardInterrupt):
            input()


if __name__ == "__main__":
    _main()
