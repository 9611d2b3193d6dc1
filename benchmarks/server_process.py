"""Run a server on a free port, and put a load on it from a separate process."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, TypeVar

import numpy as np
import psutil
from http_load import Answer

HERE: Final = Path(__file__).parent
T = TypeVar("T")

CLIENTS: Final = 16
READY_SECONDS: Final = 600
SERVER: Final = Path(sys.executable).with_name("fb-serve")


def serve_command(lake: Path, server: Path = SERVER) -> list[str]:
    """Return the command of this server, without the port."""
    return [str(server), "run", "--lake", str(lake), "--port"]


@contextmanager
def running(command: Sequence[str], **settings: str) -> Iterator[tuple[int, psutil.Process]]:
    """Run a server on a free port."""
    port = free_port()
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(
            [*command, str(port)], stdout=output, stderr=output, env=os.environ | settings
        ) as process,
    ):
        tree = psutil.Process(process.pid)
        try:
            wait_until_ready(port, process, output)
            yield port, tree
        finally:
            if process.poll() is None:
                for child in [*tree.children(recursive=True), tree]:
                    child.kill()


def wait_until_ready(port: int, process: subprocess.Popen[bytes], output: IO[str]) -> None:
    """Wait until a server answers."""
    for _ in range(READY_SECONDS * 10):
        if process.poll() is not None:
            output.seek(0)
            raise SystemExit(
                f"{process.args} ended with {process.returncode}: {output.read()[-2000:]}"
            )
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{process.args} did not answer within {READY_SECONDS} s")


def free_port() -> int:
    """Return a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def put_load(
    port: int,
    path: str,
    content: Path,
    *,
    count: int = 0,
    clients: int = CLIENTS,
    rate: float = 0.0,
    seconds: float = 0.0,
) -> list[Answer]:
    """Send requests from a separate process.

    Args:
        port: of the server.
        path: of the requests.
        content: folder of photos, or file with a text per line.
        count: number of requests, if there is no rate.
        clients: each of them sends a request after its previous response.
        rate: requests per second, whether or not there are responses.
        seconds: duration of that rate.
    """
    command = [sys.executable, str(HERE / "http_load.py"), str(port), path, str(content)]
    command += [f"--clients={clients}", f"--count={count}"]
    if rate:
        command += [f"--rate={rate}", f"--seconds={seconds}"]
    process = subprocess.run(command, check=True, capture_output=True)
    return [Answer(*fields) for fields in json.loads(process.stdout)]


def throughput(answers: Sequence[Answer]) -> float:
    """Return the responses per second."""
    end = max(answer.sent + answer.seconds for answer in answers)
    return len(answers) / (end - min(answer.sent for answer in answers))


def quantile(answers: Sequence[Answer], share: float) -> float:
    """Return a quantile of the latencies, in seconds."""
    return float(np.quantile([answer.seconds for answer in answers], share))


def memory(process: psutil.Process) -> float:
    """Return the resident memory of a server in MB."""
    return float(process.memory_info().rss / 1e6)


@contextmanager
def sample_during(measure: Callable[[], T], interval_s: float) -> Iterator[list[T]]:
    """Measure at once, and then after each interval, in a thread, while the block lasts.

    Args:
        measure: function to call.
        interval_s: seconds between two calls.
    """
    samples, done = [measure()], threading.Event()

    def sample() -> None:
        while not done.wait(interval_s):
            samples.append(measure())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()
