"""Floods of photos, searches, clicks and connections on a real server, with an honest client meanwhile.

`SECONDS=60 pytest -s -m 'slow or stress' tests/integration/test_floods.py` floods for longer. Server and
clients have cores of their own. The honest client is a process of its own, so it waits for no other client.
Prints the times of its requests with and without a flood.
"""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from PIL import Image
from support.files.image_bytes import extended_webp, flat_webp, picture, png, written

SECONDS = float(os.environ.get("SECONDS", "2"))
GRACE = 2
FLOODING_CLIENTS = 8
PHOTOS = {
    "photos": lambda: written(picture((1600, 1200)), "JPEG"),
    "photos of one column": lambda: png(1, 15_999_999),
    "canvases": lambda: extended_webp(8000, 7999),
    "large PNGs": lambda: png(8000, 8000),
    "large WebPs": lambda: flat_webp(4000, 4000),
    "progressive JPEGs": lambda: written(Image.new("RGB", (7000, 7000)), "JPEG", progressive=True),
}

CONNECTIONS = """
import asyncio, os, sys
if sys.platform == "linux":  # Else the honest client would wait for this core.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
host, _, port = sys.argv[1].partition(":")
count, pause, head, part = int(sys.argv[2]), float(sys.argv[3]), *map(str.encode, sys.argv[4:])
source = ("127.0.0.2", 0) if sys.platform == "linux" else None  # The honest client has another address.

async def connect():
    while True:
        try:
            reader, writer = await asyncio.open_connection(host, port, local_addr=source)
            writer.write(head)
            while True:
                writer.write(part)
                await writer.drain()
                try:
                    await asyncio.wait_for(reader.read(), pause)
                    break
                except TimeoutError:
                    pass
            writer.close()
        except OSError:
            await asyncio.sleep(0.1)

async def main():
    await asyncio.gather(*(connect() for _ in range(count)))

asyncio.run(main())
"""

ASKING = """
import http.client, json, sys, time
connection, answers = http.client.HTTPConnection(sys.argv[1], timeout=30), []
end, method, path, content_type = time.monotonic() + float(sys.argv[2]), *sys.argv[3:]
body = sys.stdin.buffer.read()
while time.monotonic() < end:
    started = time.perf_counter()
    connection.request(method, path, body, {"Content-Type": content_type})
    response = connection.getresponse()
    response.read()
    answers.append((response.status, time.perf_counter() - started))
    time.sleep(0.05)
print(json.dumps(answers))
"""


class Request(NamedTuple):
    method: str
    path: str
    content_type: str = ""
    body: bytes = b""


SEARCH = Request("GET", "/search?q=red+lamp")


class Connections(NamedTuple):
    """Connections that send a head, and a part after each pause. Closed ones are replaced."""

    count: int
    pause_seconds: float
    head: str
    part: str


CONNECTION_FLOODS = {
    "slow headers": Connections(1000, 1, "GET /livez HTTP/1.1\r\n", "a: b\r\n"),
    "slow bodies": Connections(
        1000,
        1,
        "POST /clicks HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n",
        " ",
    ),
    "header bombs": Connections(FLOODING_CLIENTS, 0.01, "GET / HTTP/1.1\r\n", "a: b\r\n" * 10_000),
    "idle connections": Connections(10_000, 60, "", ""),
    "half headers": Connections(10_000, 60, "GET /livez HTTP/1.1\r\n", ""),
    "dripped photos": Connections(
        1000,
        1,
        "POST /predict/image HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        "Content-Length: 900000\r\n\r\n--x\r\n"
        'Content-Disposition: form-data; name="image"; filename="a"\r\n\r\n',
        "a" * 1200,
    ),
    "chunked bodies": Connections(
        1000,
        1,
        "POST /search HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "1\r\na\r\n",
    ),
    "half TLS hellos": Connections(1000, 1, "\x16\x03\x01", "\x02"),
    "pipelined requests": Connections(100, 0.5, "", "GET /livez HTTP/1.1\r\n\r\n" * 16),
}


class Answer(NamedTuple):
    status: int
    seconds: float


class Server(NamedTuple):
    process: "subprocess.Popen[str]"
    host: str


@pytest.fixture
def server(serve, shop, tmp_path):
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    try:
        if len(cores) > 1:
            os.sched_setaffinity(0, cores[1:])  # inherited by the server
        process = serve(
            "--lake",
            shop,
            "--port",
            "0",
            FB_LOG_LEVEL="error",
            FB_FEEDBACK_DIR=str(tmp_path / "events"),
            FB_SHUTDOWN_GRACE_SECONDS=str(GRACE),
        )
        ready = process.stdout.readline()
        assert ready, process.stderr.read()
        if len(cores) > 1:
            os.sched_setaffinity(0, cores[:1])
        yield Server(process, ready.split()[-1].removeprefix("http://"))
    finally:
        if cores:
            os.sched_setaffinity(0, cores)


@pytest.fixture
def host(server):
    return server.host


def ask(host: str, request: Request) -> list[Answer]:
    """Send a request twenty times a second on one connection."""
    command = [sys.executable, "-c", ASKING, host, str(SECONDS), *request[:3]]
    answers = subprocess.run(command, input=request.body, check=True, capture_output=True).stdout
    return [Answer(*answer) for answer in json.loads(answers)]


def upload(photo: bytes) -> Request:
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    body = head + photo + b"\r\n--x--\r\n"
    return Request("POST", "/predict/image", "multipart/form-data; boundary=x", body)


def click(host: str) -> Request:
    """Return a click on the first hit of a search."""
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.request(SEARCH.method, SEARCH.path)
    answer = json.load(connection.getresponse())
    click = {"search_id": answer["search_id"], "product_id": answer["hits"][0]["product_id"]}
    return Request("POST", "/clicks", "application/json", json.dumps(click).encode())


@contextlib.contextmanager
def flood(host: str, request: Request) -> Iterator[Counter[int]]:
    """Send a request again and again meanwhile; counts the statuses."""
    statuses, over = Counter(), threading.Event()

    def send():
        if sys.platform == "linux":  # Else the honest client would wait for this core.
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))
        connection = http.client.HTTPConnection(host, timeout=30)
        while not over.is_set():
            headers = {"Content-Type": request.content_type}
            connection.request(request.method, request.path, request.body, headers)
            response = connection.getresponse()
            response.read()
            statuses[response.status] += 1
            time.sleep(0 if response.status == 200 else 0.01)

    threads = [threading.Thread(target=send) for _ in range(FLOODING_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def connection_flood(host: str, connections: Connections) -> Iterator[None]:
    """Keep many connections meanwhile, by a process of its own."""
    command = [sys.executable, "-c", CONNECTIONS, host, *map(str, connections)]
    with subprocess.Popen(command) as process:
        time.sleep(SECONDS)  # until the connections are there
        try:
            yield
            assert process.poll() is None
        finally:
            process.kill()


def percentile(answers: list[Answer]) -> float:
    seconds = sorted(answer.seconds for answer in answers)
    return seconds[len(seconds) * 99 // 100]


@pytest.fixture
def check(host, capsys):
    """Return a function that asks under floods, prints the times, and checks the answers."""

    def check(request, floods):
        ask(host, request)
        quiet, lines, answered = ask(host, request), [], {}
        for name, context in floods.items():
            with context as statuses:
                answers = ask(host, request)
            answered[name] = sum(answer.status == 200 for answer in answers) / len(answers)
            ratio = percentile(answers) / percentile(quiet)
            lines.append(
                f"{name}: {answered[name]:.1%} of {len(answers)} requests answered, p99 "
                f"{percentile(answers) * 1000:.1f} ms, {ratio:.2f} times that without; "
                f"{dict(statuses or {})}"
            )
        with capsys.disabled():
            sys.stdout.write("\n" + "\n".join(lines) + "\n")
        assert {name: share for name, share in answered.items() if share < 0.99} == {}

    return check


@pytest.mark.slow
def test_searches_are_answered_under_floods_of_requests(host, check):
    requests = {name: upload(make()) for name, make in PHOTOS.items()} | {"clicks": click(host)}

    check(SEARCH, {name: flood(host, request) for name, request in requests.items()})


@pytest.mark.slow
def test_photos_are_answered_under_a_flood_of_searches(host, check):
    photo = upload(written(picture((800, 600)), "JPEG"))  # Larger ones would be a flood themselves.

    check(photo, {"searches": flood(host, SEARCH)})


@pytest.mark.stress  # Takes half of the ports of this machine: servers of other tests might not start.
def test_searches_are_answered_under_floods_of_connections(host, check):
    floods = {name: connection_flood(host, kind) for name, kind in CONNECTION_FLOODS.items()}

    check(SEARCH, floods)


@pytest.mark.stress
@pytest.mark.parametrize("kind", CONNECTION_FLOODS)
def test_stop_is_in_time_under_a_flood_of_connections(server, kind):
    with connection_flood(server.host, CONNECTION_FLOODS[kind]):
        started = time.monotonic()
        server.process.terminate()

        assert server.process.wait(30) == 0
        assert time.monotonic() - started < GRACE + 1.5
