"""HTTP load generator: closed loop (each client waits for its response) or open loop (Poisson arrivals).

Requests are prebuilt bytes over persistent connections, so that the load itself costs little. Run it as a
separate process.
"""

import argparse
import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote_plus

TIMEOUT_SECONDS = 60


class Answer(NamedTuple):
    """Send time, duration in seconds, and status of a request; status 0 if it failed."""

    sent: float
    seconds: float
    status: int
    category: str = ""
    photo: int = 0


def request(path: str, photo: bytes) -> bytes:
    """Return the bytes of a request that uploads a photo."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="photo.jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n" + photo + b"\r\n--x--\r\n"
    )
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def query(path: str, text: str) -> bytes:
    """Return the bytes of a request for a text."""
    return f"GET {path}?q={quote_plus(text)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


class Connection:
    """A connection that reopens after the server closes it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, data: bytes) -> Answer:
        """Send a request and wait for the response."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status, body = await self._exchange_or_reopen(data)
        except (OSError, EOFError, TimeoutError, ValueError):
            self.close()
            return Answer(started, time.perf_counter() - started, 0)
        seconds = time.perf_counter() - started
        category = json.loads(body).get("category", "") if status == 200 else ""
        return Answer(started, seconds, status, category)

    def close(self) -> None:
        """Close the connection."""
        if self._streams:
            self._streams[1].close()
        self._streams = None

    async def _exchange_or_reopen(self, data: bytes) -> tuple[int, bytes]:
        """Use the open connection, or a new one if the server has closed it as idle."""
        if self._streams is not None:
            try:
                return await self._exchange(data)
            except (OSError, EOFError):
                self.close()
        return await self._exchange(data)

    async def _exchange(self, data: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(data)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        body = await reader.readexactly(int(headers["content-length"]))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return int(lines[0].split()[1]), body


async def closed_loop(
    port: int, requests: Sequence[bytes], clients: int, count: int
) -> list[Answer]:
    """Send requests from several clients, each after its previous response, up to a total count."""
    left = iter(range(count))

    async def client() -> list[Answer]:
        connection = Connection(port)
        photos = (turn % len(requests) for turn in left)
        answers = [
            (await connection.ask(requests[photo]))._replace(photo=photo) for photo in photos
        ]
        connection.close()
        return answers

    return list(itertools.chain(*await asyncio.gather(*(client() for _ in range(clients)))))


async def open_loop(
    port: int, requests: Sequence[bytes], rate: float, seconds: float, seed: int
) -> list[Answer]:
    """Send requests as a Poisson process at a rate, independent of responses."""
    drawn, idle, tasks = random.Random(seed), list[Connection](), []
    started = time.perf_counter()
    due = 0.0

    async def ask(data: bytes) -> Answer:
        connection = idle.pop() if idle else Connection(port)
        try:
            return await connection.ask(data)
        finally:
            idle.append(connection)

    while (due := due + drawn.expovariate(rate)) < seconds:
        await asyncio.sleep(max(0.0, started + due - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(requests[len(tasks) % len(requests)])))
    answers = await asyncio.gather(*tasks)
    for connection in idle:
        connection.close()
    return list(answers)


def main() -> None:
    """Put a load on a server, and print the answers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("content", type=Path, help="folder of photos, or file with a text per line")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rate", type=float, help="requests per second of an open loop")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    if options.content.is_dir():
        files = sorted(options.content.iterdir())
        requests = [request(options.path, file.read_bytes()) for file in files]
    else:
        requests = [query(options.path, text) for text in options.content.read_text().splitlines()]
    if options.rate:
        load = open_loop(options.port, requests, options.rate, options.seconds, seed=7)
    else:
        load = closed_loop(options.port, requests, options.clients, options.count)
    json.dump(asyncio.run(load), sys.stdout)


if __name__ == "__main__":
    main()
