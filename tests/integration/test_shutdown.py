"""SIGTERM ends a server in time, whatever its threads and its clients do."""

import contextlib
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from fb_marketplace_serving.release.photo_store import FOLDER

GRACE = 1


def started(process):
    ready = process.stdout.readline()
    assert ready, process.stderr.read()
    host, port = ready.split()[-1].removeprefix("http://").split(":")
    return host, int(port)


def stop(process):
    """Return the exit code, and the seconds from the signal to the end."""
    before = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code = process.wait(30)
    return code, time.monotonic() - before


def send(address, request):
    connection = socket.create_connection(address, timeout=10)
    connection.sendall(request)
    return connection


def to_pipe(file):
    """Replace a file by a pipe that nobody writes: opening it blocks."""
    file.unlink()
    os.mkfifo(file)


def test_stuck_request_is_abandoned_after_the_grace_period(serve, lake):
    process = serve("--lake", lake, "--port", "0", FB_SHUTDOWN_GRACE_SECONDS=str(GRACE))
    address = started(process)
    for file in Path(lake, FOLDER).iterdir():
        to_pipe(file)
    connection = send(address, b"GET /images/img-red HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.3)

    code, seconds = stop(process)

    connection.close()
    assert code == 0
    assert seconds < GRACE + 1


@pytest.mark.slow
def test_stuck_pointer_delays_no_stop(serve, lake):
    process = serve(
        *("--lake", lake, "--port", "0"),
        FB_RELEASE_POLL_SECONDS="0.05",
        FB_SHUTDOWN_GRACE_SECONDS="10",
    )
    started(process)
    to_pipe(Path(lake, "releases/current.json"))
    time.sleep(0.3)

    code, seconds = stop(process)

    assert code == 0
    assert seconds < 2


@pytest.mark.slow
def test_opening_release_delays_no_stop(serve, lake, draft):
    to_pipe(Path(lake, draft.artifacts["encoder"].path))
    process = serve("--lake", lake, "--port", "0")
    time.sleep(1)

    code, seconds = stop(process)

    assert code == 0
    assert seconds < 1


@pytest.mark.parametrize("grace", [0, pytest.param(GRACE, marks=pytest.mark.slow)])
def test_flood_delays_no_stop(serve, lake, grace):
    process = serve(
        *("--lake", lake, "--port", "0"),
        FB_SHUTDOWN_GRACE_SECONDS=str(grace),
        FB_LOG_LEVEL="error",
    )
    address = started(process)
    over = threading.Event()
    request = b"GET /release HTTP/1.1\r\nHost: x\r\n\r\n"

    def flood():
        while not over.is_set():
            with contextlib.suppress(OSError), send(address, request * 10) as connection:
                while connection.recv(65_536):
                    connection.sendall(request)

    clients = [threading.Thread(target=flood) for _ in range(8)]
    for client in clients:
        client.start()
    time.sleep(0.5)

    code, seconds = stop(process)

    over.set()
    for client in clients:
        client.join()
    assert code == 0
    assert seconds < grace + 1
