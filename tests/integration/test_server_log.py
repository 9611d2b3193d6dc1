"""The log of a real server under hostile requests."""

import contextlib
import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor

REQUESTS = [
    b"nonsense\r\n\r\n",
    b"GET /%00%1b%5b31m%0a%e2%80%a8%7f HTTP/1.1\r\nHost: x\r\nX-Request-ID: a\tb\r\n\r\n",
    b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"POST /predict/image HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    b"Content-Length: 10\r\n\r\n0123456789",
    b"POST /predict/image HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    b"Content-Length: 21\r\n\r\n--x\r\n\x00bad: header\r\n\r\n",
    b"POST /predict/image HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n",
]

ROUNDS = 20


def test_every_line_is_bounded_json_without_control_characters(serve, shop_in_common):
    process = serve("--lake", shop_in_common, "--port", "0", FB_SHUTDOWN_GRACE_SECONDS="1")
    ready = process.stdout.readline()
    assert ready, process.stderr.read()
    host, port = ready.split()[-1].removeprefix("http://").split(":")
    with ThreadPoolExecutor(1) as executor:
        log = executor.submit(process.stderr.read)  # A full pipe would stop the server.
        try:
            for _ in range(ROUNDS):
                for request in REQUESTS:
                    with (
                        contextlib.suppress(OSError),
                        socket.create_connection((host, int(port)), 5) as client,
                    ):
                        client.sendall(request)
                        client.recv(100)
            connection = http.client.HTTPConnection(host, int(port), timeout=10)
            connection.request("GET", "/livez")
            assert connection.getresponse().status == 200
        finally:
            process.terminate()
        out, err = process.stdout.read(), log.result(timeout=10)

    assert out == ""
    lines = err.splitlines()
    assert [line for line in lines if not (line.isascii() and line.isprintable())] == []
    assert max(map(len, lines)) < 1000
    events = [json.loads(line)["event"] for line in lines]
    assert events.count("request") > 100
    assert len(lines) <= ROUNDS * len(REQUESTS) + 100, "about a line for each request"
