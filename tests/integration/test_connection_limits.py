"""A real server under attack by headers, slow clients and connections. Other clients notice nothing."""

import contextlib
import http.client
import json
import resource
import select
import socket
import subprocess
import sys
import time

import psutil
import pytest

LIMIT = 65_536


@pytest.fixture(scope="module")
def process(serve_in_common, shop_in_common):
    return serve_in_common(
        *("--lake", shop_in_common, "--port", "0"),
        FB_HEADER_TIMEOUT_SECONDS="0.5",
        FB_KEEP_ALIVE_SECONDS="1",
        FB_LOG_LEVEL="error",
    )


@pytest.fixture(scope="module")
def address(process):
    return listening(process)


def listening(process):
    ready = process.stdout.readline()
    assert ready, process.stderr.read()
    host, port = ready.split()[-1].removeprefix("http://").split(":")
    return host, int(port)


def connect(address):
    return socket.create_connection(address, timeout=15)


def answer(connection):
    """Return status, problem type and headers of the response on a connection."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    kind = json.loads(response.read()).get("type", "").rpartition(":")[2]
    return response.status, kind, response.headers


def send_all(connection, parts):
    """Send until the server stops taking it."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        for part in parts:
            connection.sendall(part)


def is_alive(address):
    """Time a request of another client."""
    started = time.monotonic()
    connection = http.client.HTTPConnection(*address, timeout=15)
    connection.request("GET", "/livez")
    assert connection.getresponse().status == 200
    connection.close()
    return time.monotonic() - started


@pytest.mark.parametrize(
    ("head", "status", "kind"),
    [
        (b"GET /livez?%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * LIMIT), 414, "url_too_long"),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\na: %b\r\n\r\n" % (b"a" * LIMIT), 431, None),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n%b\r\n" % (b"a:\r\n" * 200), 431, None),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n%b\r\n" % (b"a: b\r\n" * 100), 200, ""),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\na: %b\r\n\r\n" % (b"a" * 60_000), 200, ""),
        (b"nonsense\r\n\r\n", 400, "malformed"),
    ],
)
def test_head_is_limited(address, head, status, kind):
    with connect(address) as connection:
        connection.sendall(head)

        result = answer(connection)

    assert result[:2] == (status, "headers_too_large" if kind is None else kind)
    if status != 200:
        assert result[2]["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("start", "part", "status"),
    [
        (b"GET /", b"a" * 65_536, 414),
        (b"GET / HTTP/1.1\r\na: ", b"a" * 65_536, 431),
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 10_000, 431),
        (
            b"POST /clicks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: ",
            b"a" * 65_536,
            None,
        ),
        (b"POST /clicks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a" * 65_536, None),
    ],
    ids=["url", "one-header", "many-headers", "trailer", "chunk-extension"],
)
def test_endless_head_delays_nobody(address, start, part, status):
    """Eighty megabytes; before, all other clients waited for seconds."""
    with connect(address) as connection:
        send_all(connection, [start, *[part] * (80_000_000 // len(part))])
        seconds = is_alive(address)
        with contextlib.suppress(ConnectionError):
            result = answer(connection)
            assert status is None or result[0] == status

    assert seconds < 1


def test_endless_head_takes_no_memory(process, address):
    is_alive(address)
    before = psutil.Process(process.pid).memory_info().rss

    with connect(address) as connection:
        send_all(connection, [b"GET / HTTP/1.1\r\n", *[b"a: b\r\n" * 10_000] * 1000])
        is_alive(address)
        growth = psutil.Process(process.pid).memory_info().rss - before

    assert growth < 20_000_000


@pytest.mark.parametrize(
    "start", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\n"], ids=["idle", "half"]
)
def test_slow_head_is_closed(address, start):
    with connect(address) as connection:
        connection.sendall(start)
        started = time.monotonic()
        if start:
            status, kind, _ = answer(connection)
            assert (status, kind) == (408, "slow_headers")
        else:
            assert connection.recv(1) == b""

    assert time.monotonic() - started < 4


def test_trickled_head_is_closed(address):
    with connect(address) as connection:
        started = time.monotonic()
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            while (
                time.monotonic() - started < 5 and not select.select([connection], [], [], 0.1)[0]
            ):
                connection.sendall(b"a: b\r\n")
        assert connection.recv(20).startswith(b"HTTP/1.1 408")


def test_idle_connection_is_closed_between_requests(address):
    with connect(address) as connection:
        for _ in range(2):
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer(connection)[0] == 200
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            # Blank lines before a request, which parsers skip.
            while (
                time.monotonic() - started < 5 and not select.select([connection], [], [], 0.1)[0]
            ):
                connection.sendall(b"\r\n")

        assert connection.recv(1) == b""
    assert time.monotonic() - started < 4


@pytest.mark.slow
@pytest.mark.parametrize("route", ["/predict/image", "/livez"])
def test_slow_body_is_closed(serve, shop_in_common, route):
    """Whether the route would read it or not."""
    process = serve(
        *("--lake", shop_in_common, "--port", "0"),
        FB_REQUEST_TIMEOUT_SECONDS="100",
        FB_LOG_LEVEL="error",
    )
    address = listening(process)
    with connect(address) as connection:
        connection.sendall(
            f"POST {route} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
            '--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'.encode()
        )
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - started < 12:
                connection.sendall(b"a")
                time.sleep(0.1)
        lasted = time.monotonic() - started
        with contextlib.suppress(ConnectionError):
            assert answer(connection)[0] == 408

    assert 4 < lasted < 9


def test_requests_on_one_connection_are_limited(address):
    with connect(address) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 100)

        received = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert received.count(b"HTTP/1.1 200") <= 17


CLICK_WITHOUT_BODY = (
    "POST /clicks HTTP/1.1\r\nContent-Length: 900\r\nContent-Type: application/json\r\n\r\n"
)


class Flood:
    """Many connections of another process, so that this one needs no files."""

    CODE = """
import resource, socket, sys, time
host, port, count, start = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].encode()
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
opened = []
for _ in range(count):
    connection = socket.create_connection((host, port), timeout=60)
    if start:
        try:
            connection.sendall(start)
        except ConnectionError:
            pass
    opened.append(connection)
print("open", flush=True)
time.sleep(600)
"""

    def __init__(self, address, count, start):
        self._process = subprocess.Popen(
            [sys.executable, "-c", self.CODE, *map(str, address), str(count), start],
            stdout=subprocess.PIPE,
        )

    def __enter__(self):
        return self

    def wait(self):
        assert self._process.stdout.readline() == b"open\n"

    def __exit__(self, *_):
        self._process.kill()
        self._process.communicate()


def few_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))


@pytest.mark.parametrize(
    ("count", "start"),
    [
        (1100, "GET /livez HTTP/1.1\r\nHost: x\r\n"),
        pytest.param(1100, CLICK_WITHOUT_BODY, marks=pytest.mark.slow),
        pytest.param(10_000, "", marks=pytest.mark.stress),
        pytest.param(10_000, "GET /livez HTTP/1.1\r\nHost: x\r\n", marks=pytest.mark.stress),
    ],
)
def test_many_connections_shut_nobody_out(environment, shop_in_common, tmp_path, count, start):
    """With 1,024 files, more connections than the server may open. Before, all others were reset."""
    command = [sys.executable, "-m", "fb_marketplace_serving.cli.main", "run"]
    process = subprocess.Popen(
        [*command, "--lake", shop_in_common, "--port", "0"],
        env=environment
        | {"FB_LOG_LEVEL": "error", "FB_HEADER_TIMEOUT_SECONDS": "60", "FB_MIN_UPLOAD_RATE": "0"}
        | {"FB_FEEDBACK_DIR": str(tmp_path), "FB_REQUEST_TIMEOUT_SECONDS": "60"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=few_files,  # noqa: PLW1509 - no threads are running
    )
    try:
        address = listening(process)
        with Flood(address, count, start) as flood:
            during = [is_alive(address) for _ in range(5)]
            flood.wait()
            after = [is_alive(address) for _ in range(5)]
            connection = http.client.HTTPConnection(*address, timeout=15)
            connection.request("GET", "/metrics")
            metrics = connection.getresponse().read().decode()
    finally:
        process.kill()
        process.communicate()

    assert max(during + after) < 2
    assert 'fb_connections_closed_total{reason="evicted"}' in metrics
