"""Time limits of a connection, on a clock of the test."""

import asyncio
import gc
import weakref
from dataclasses import replace

import pytest
import uvicorn

from fb_marketplace_serving.server.transport.connections import (
    PIPELINED_PAUSE,
    ConnectionLimits,
    Connections,
)
from fb_marketplace_serving.server.transport.protocol import LimitedHttpProtocol
from fb_marketplace_serving.server.transport.turns import CALLS_PER_TURN, FairTurns

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n"


class Transport(asyncio.Transport):
    """Records all writes. Its buffer is full only if a test sets that."""

    def __init__(self, peer):
        super().__init__()
        self.written = b""
        self.unwritten = 0
        self.peer = peer
        self.reading = True
        self.aborted = self.closing = False

    def get_extra_info(self, name, default=None):
        return self.peer if name == "peername" else default

    def write(self, data):
        self.written += data

    def write_eof(self):
        pass

    def get_write_buffer_size(self):
        return self.unwritten

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def is_closing(self):
        return self.closing

    def close(self):
        self.closing = True

    def abort(self):
        self.aborted = self.closing = True


class Connection:
    """A connection to an application that answers when the test says so."""

    def __init__(self, limits):
        self.now = 100.0
        self.reasons = []
        self.calls = 0
        self.reads = False
        self.answer = asyncio.Event()
        loop = asyncio.get_running_loop()
        # No timer of uvicorn may close a connection.
        config = uvicorn.Config(
            self.app, ws="none", interface="asgi3", log_config=None, timeout_keep_alive=0
        )
        self.connections = Connections(limits, self.reasons.append, self.time)
        self.create_task, self.call_later = loop.create_task, loop.call_later
        self.config = config
        self.protocol, self.transport = self.connect()

    def connect(self, peer="10.0.0.1"):
        protocol = LimitedHttpProtocol(
            self.config, self.connections, {}, asyncio.get_running_loop()
        )
        protocol.loop, transport = self, Transport((peer, 1))
        protocol.connection_made(transport)
        return protocol, transport

    def time(self):
        return self.now

    async def app(self, scope, receive, send):
        self.calls += 1
        if self.reads:
            await receive()
        await self.answer.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def respond(self):
        self.answer.set()
        for _ in range(5):
            await asyncio.sleep(0)

    def send(self, data):
        self.protocol.data_received(data)

    def wait(self, seconds):
        """Check the limits once a second, like the server."""
        for _ in range(seconds):
            self.now += 1
            self.connections.sweep()


LIMITS = ConnectionLimits()


def run(test, limits=LIMITS):
    async def scenario():
        await test(Connection(limits))

    asyncio.run(scenario())


def test_body_below_minimum_rate_is_refused():
    async def scenario(client):
        client.send(HEAD)
        for _ in range(5):
            client.send(b"a" * 1000)
            client.wait(1)

        assert client.reasons == ["slow_upload"]
        assert client.transport.written.startswith(b"HTTP/1.1 408")
        client.wait(3)
        assert client.transport.aborted

    run(scenario)


def test_body_at_minimum_rate_is_taken():
    async def scenario(client):
        client.send(HEAD)
        for _ in range(30):
            client.send(b"a" * 1100)
            client.wait(1)

        assert client.reasons == []

    run(scenario, replace(LIMITS, body_timeout=60))


def test_small_body_that_takes_too_long_is_refused():
    async def scenario(client):
        client.send(HEAD)
        for _ in range(10):
            client.send(b"a" * 1100)
            client.wait(1)
        assert client.reasons == []

        client.wait(1)

        assert client.reasons == ["body_timeout"]
        assert b"65,536 bytes" in client.transport.written
        assert b"within 10 s" in client.transport.written
        await client.respond()
        assert client.calls == 0

    run(scenario)


@pytest.mark.parametrize(
    ("head", "most"),
    [
        (b"Content-Length: 5000\r\n\r\n", b"a" * 4999),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"1388\r\n" + b"a" * 5000 + b"\r\n0\r\n"),
    ],
)
def test_application_is_called_when_a_small_body_is_complete(head, most):
    async def scenario(client):
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + head + most[:1000])
        client.send(most[1000:])
        await client.respond()
        assert client.calls == 0

        client.send(b"a" if b"Length" in head else b"\r\n")
        await client.respond()

        assert client.calls == 1
        assert client.transport.written.startswith(b"HTTP/1.1 204")

    run(scenario)


def test_application_is_called_for_a_large_body():
    async def scenario(client):
        client.send(HEAD)
        client.send(b"a" * 65_535)
        await client.respond()
        assert client.calls == 0

        client.send(b"a")
        await client.respond()

        assert client.calls == 1

    run(scenario)


def test_expected_continue_is_sent_before_the_application_is_called():
    async def scenario(client):
        client.send(HEAD.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))

        assert client.transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"a" * 999_999)
        await client.respond()
        assert client.transport.written.count(b"HTTP/1.1 ") == 2

    run(scenario)


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"], ids=["plain", "expect"])
def test_time_of_a_pipelined_body_starts_after_the_response(expect, reads):
    async def scenario(client):
        client.reads = reads
        client.send(
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
            b"POST / HTTP/1.1\r\nHost: x\r\n" + expect + b"Content-Length: 10000\r\n\r\n"
        )
        await asyncio.sleep(0)
        client.wait(30)
        assert client.transport.written == b""
        await client.respond()
        assert client.transport.written.count(b"HTTP/1.1 100") == bool(expect)
        assert client.transport.reading
        client.wait(4)
        client.send(b"a" * 10_000)
        await client.respond()

        assert client.transport.written.count(b"HTTP/1.1 204") == 2
        assert client.reasons == []

    run(scenario)


PIPELINED = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 4


async def answer_two_of_four(client):
    """Send pipelined requests, of which two wait for their turn; returns the turns."""
    client.answer.set()
    turns = client.connections.pipelined_turns = FairTurns(1, 100.0)
    client.send(PIPELINED)
    await asyncio.sleep(0.1)
    return turns


def test_pipelined_requests_are_all_answered():
    async def scenario(client):
        client.answer.set()
        client.send(PIPELINED)
        async with asyncio.timeout(30):
            while client.transport.written.count(b"HTTP/1.1 204") < 4:
                await asyncio.sleep(PIPELINED_PAUSE)

    run(scenario)


def test_pipelined_requests_start_after_pauses():
    async def scenario(client):
        await answer_two_of_four(client)

        assert client.calls == 2

    run(scenario)


def test_connection_whose_pipelined_request_waits_makes_room():
    async def scenario(client):
        await answer_two_of_four(client)
        client.connect("10.0.0.2")

        assert client.transport.aborted

    run(scenario, ONE)


def test_refused_connection_starts_no_waiting_request():
    async def scenario(client):
        turns = await answer_two_of_four(client)
        client.protocol._refuse("malformed")
        turns._start_turn()
        await client.respond()

        assert client.calls == 2

    run(scenario)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_head_may_arrive_in_parts(size):
    request = b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"

    async def scenario(client):
        for count in (1, 2):
            for start in range(0, len(request), size):
                client.send(request[start : start + size])
            await client.respond()
            assert client.transport.written.count(b"HTTP/1.1 204") == count

    run(scenario)


@pytest.mark.parametrize(
    "start", [b"", b"GET / HTTP/1.1\r\n", HEAD, HEAD + b"a" * 999_999, b"nonsense\r\n\r\n"]
)
def test_closed_connection_leaves_no_garbage(start):
    async def scenario(client):
        protocol, transport = client.connect()
        client.protocol.connection_lost(None)
        protocol.data_received(start)
        await client.respond()
        protocol.connection_lost(None)
        await client.respond()
        transport.close()
        reference = weakref.ref(protocol)
        gc.disable()
        try:
            del protocol
            assert reference() is None
        finally:
            gc.enable()

    run(scenario)


def test_each_connection_is_checked_once_in_all_parts():
    async def scenario(client):
        others = [client.connect()[1] for _ in range(99)]
        client.now += 11
        closed = []
        for _ in range(10):
            client.connections.sweep(10)
            closed.append(sum(transport.closing for transport in [client.transport, *others]))

        assert closed == list(range(10, 101, 10))

    run(scenario)


def test_body_that_begins_fast_and_stalls_is_refused():
    async def scenario(client):
        client.send(HEAD)
        client.send(b"a" * 60_000)
        client.wait(11)

        assert client.reasons == ["slow_upload"]

    run(scenario)


def test_time_in_which_the_server_does_not_read_is_left_out():
    async def scenario(client):
        client.send(HEAD)
        client.send(b"a" * 100_000)  # more than the server buffers
        assert not client.transport.reading
        client.wait(60)

        assert client.reasons == []

    run(scenario)


def test_unread_body_is_closed_soon_after_the_response():
    async def scenario(client):
        client.send(HEAD)
        client.send(b"a" * 65_536)
        await client.respond()
        assert client.transport.written.startswith(b"HTTP/1.1 204")
        for _ in range(10):
            client.send(b"a" * 10_000)
            client.wait(1)

        assert client.transport.aborted

    run(scenario)


@pytest.mark.parametrize("closing", [False, True])
def test_response_that_nobody_reads_is_dropped(closing):
    async def scenario(client):
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.respond()
        client.transport.unwritten, client.transport.closing = 1000, closing
        client.wait(65)

        assert client.transport.aborted

    run(scenario)


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET / HTTP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.1\r\nContent-Len"],
        [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Len"],
    ],
    ids=["one segment", "two segments"],
)
def test_head_begun_before_a_response_has_the_header_timeout(parts):
    async def scenario(client):
        for part in parts:
            client.send(part)
        await client.respond()
        client.wait(9)
        assert not client.transport.closing

        client.send(b"gth: 1\r\n\r\na")
        await client.respond()

        assert client.transport.written.count(b"HTTP/1.1 204") == 2
        assert not client.transport.closing

    run(scenario)


def test_request_after_an_unread_body_has_no_limit():
    async def scenario(client):
        client.send(HEAD + b"a" * 65_536)
        await client.respond()
        client.answer.clear()
        client.send(b"a" * (999_999 - 65_536) + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.01)
        client.wait(100)
        await client.respond()

        assert client.transport.written.count(b"HTTP/1.1 204") == 2
        assert not client.transport.closing

    run(scenario)


@pytest.mark.parametrize("keep_alive", [5, 20])
def test_idle_connection_is_closed_after_keep_alive(keep_alive):
    async def scenario(client):
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.respond()
        await asyncio.sleep(0.01)
        client.wait(keep_alive)
        assert not client.transport.closing

        client.wait(1)

        assert client.transport.closing
        assert client.reasons == []

    run(scenario, replace(LIMITS, keep_alive=keep_alive))


def test_request_in_progress_has_no_limit():
    async def scenario(client):
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        client.wait(1000)
        await client.respond()

        assert client.transport.written.startswith(b"HTTP/1.1 204")

    run(scenario)


def test_connection_is_closed_after_its_last_request():
    async def scenario(client):
        for _ in range(3):
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await client.respond()

        assert client.transport.written.count(b"HTTP/1.1 204") == 3
        assert client.transport.written.count(b"connection: close") == 1
        assert client.transport.closing

    run(scenario, replace(LIMITS, max_requests=3))


def test_websocket_upgrade_is_answered_as_http(caplog):
    async def scenario(client):
        client.send(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        await client.respond()

        assert client.transport.written.startswith(b"HTTP/1.1 204")
        assert not caplog.records

    run(scenario)


ONE = replace(LIMITS, max_connections=1)


@pytest.mark.parametrize(
    "start",
    [b"", b"GET / HTTP/1.1\r\n", HEAD, HEAD + b"a" * 100, b"nonsense\r\n\r\n"],
    ids=["idle", "head", "no body", "body", "refused"],
)
def test_connection_without_complete_request_makes_room(start):
    async def scenario(client):
        client.send(start)
        _, second = client.connect()

        assert client.transport.aborted
        assert not second.closing
        assert len(client.connections.connections) == 1

    run(scenario, ONE)


def test_request_in_progress_keeps_its_connection():
    async def scenario(client):
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        _, second = client.connect()

        assert not client.transport.closing
        assert second.written.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in second.written
        assert second.closing
        assert len(client.connections.connections) == 1

    run(scenario, ONE)


def test_pipelined_body_makes_room_only_after_the_response():
    async def scenario(client):
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + HEAD)
        client.connect()
        assert not client.transport.closing

        await client.respond()
        client.connect()

        assert client.transport.aborted

    run(scenario, ONE)


def test_longest_waiting_connection_makes_room():
    async def scenario(client):
        first, busy, third = client, client.connect(), client.connect()
        busy[0].data_received(HEAD)
        first.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await first.respond()
        client.connect()

        assert third[1].aborted
        assert not first.transport.closing
        assert not busy[1].closing

    run(scenario, replace(LIMITS, max_connections=3))


def test_body_that_uploads_longest_makes_room():
    async def scenario(client):
        client.send(HEAD)
        client.now += 1
        _, idle = client.connect()
        client.connect()

        assert client.transport.aborted
        assert not idle.aborted

    run(scenario, replace(LIMITS, max_connections=2))


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"", b"GET / HTTP/1.1\r\n"),
        (b"\r\n", b"\r\nGET / HTTP/1.1\r\n"),
        (HEAD + b"a" * 65_536, b"a" * (999_999 - 65_536)),
    ],
    ids=["new", "blank line", "answered"],
)
def test_renewed_connection_makes_room_after_older_ones(start, more):
    async def scenario(client):
        client.send(start)
        await client.respond()
        client.now += 1
        _, idle = client.connect()
        client.now += 1
        uploading, _ = client.connect()
        uploading.data_received(HEAD)
        client.now += 1
        client.send(more)

        client.connect()
        assert idle.aborted
        client.connect()
        assert uploading.transport.aborted
        assert not client.transport.aborted

    run(scenario, replace(LIMITS, max_connections=3))


def test_address_with_most_connections_makes_room():
    async def scenario(client):
        _, idle = client.connect("10.0.0.9")
        _, crowd = client.connect("2001:db8::1")
        client.connect("2001:db8::2")

        client.connect("10.0.0.7")

        assert crowd.aborted
        assert not idle.aborted
        assert not client.transport.aborted
        assert client.connections.count_by_client["2001:db8::/64"] == 1

    run(scenario, replace(LIMITS, max_connections=4))


def test_client_that_reads_a_response_makes_room_last():
    async def scenario(client):
        client.transport.unwritten = 1
        _, idle = client.connect()

        _, third = client.connect()
        third.unwritten = 1
        client.connect()

        assert idle.aborted
        assert client.transport.aborted
        assert not third.aborted

    run(scenario, replace(LIMITS, max_connections=2))


def test_crowd_makes_room_after_many_older_connections():
    async def scenario(client):
        older = [client.connect(f"10.0.0.{number}")[1] for number in range(2, 11)]
        busy, _ = client.connect("2001:db8::1")
        busy.data_received(HEAD)
        _, crowd = client.connect("2001:db8::2")

        client.connect("10.0.0.77")

        assert crowd.aborted
        assert not any(transport.aborted for transport in older)

    run(scenario, replace(LIMITS, max_connections=12))


def test_closed_connections_are_not_counted():
    async def scenario(client):
        client.protocol.connection_lost(None)

        assert not client.connections.count_by_client

    run(scenario)


def test_bytes_that_are_not_http_are_refused_in_turns():
    async def scenario(client):
        others = [client.connect()[0] for _ in range(2 * CALLS_PER_TURN)]
        for other in others:
            other.data_received(b"\x16\x03\x01")

        assert client.reasons == ["malformed"] * CALLS_PER_TURN
        await asyncio.sleep(0)
        assert client.reasons == ["malformed"] * 2 * CALLS_PER_TURN

    run(scenario)


def test_many_bytes_that_are_not_http_are_refused_and_discarded():
    async def scenario(client):
        for _ in range(CALLS_PER_TURN):
            client.connect()[0].data_received(b"\x16")
        client.send(b"\x16" * 40_000)
        client.send(b"\x16" * 40_000)
        assert not client.transport.reading

        await asyncio.sleep(0)
        assert client.transport.reading
        assert client.transport.written.startswith(b"HTTP/1.1 400")
        client.send(b"\x16" * 40_000)
        client.wait(3)
        assert client.transport.aborted

    run(scenario)
