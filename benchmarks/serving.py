"""Throughput and latency of this server, a plain FastAPI + torch server, and LitServe.

All serve the same ResNet50 and photos to 16 clients, each of which sends the next request after a response.
The plain server runs torch in fp32 in the handler; LitServe runs the graph that we serve.
``--turns`` runs this server and LitServe side by side and alternates short loads.
``--start`` measures startup time and idle memory on the release of FB_LAKE.
``--overload`` sends four times the server's throughput: latency of accepted and rejected requests, and
recovery.

Expected before measuring: 3x the plain server, since ONNX Runtime is 2.5x torch at batch 1 and 16 torch
threads compete for the cores; 1x LitServe or slightly more, since the encoder takes nearly all of the time.
Under overload: 503 within 5 ms, since a rejection only reads the body.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import numpy as np
import psutil
from http_load import Answer
from serving_lake import make_lake

HERE: Final = Path(__file__).parent
PATH: Final = "/predict/image"
ROUNDS: Final = 3
CLIENTS: Final = 16
STARTS: Final = 5
READY_SECONDS: Final = 120
SERVER: Final = Path(sys.executable).with_name("fb-serve")


def main() -> None:
    """Run the chosen benchmark and print its results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=240, help="per round")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--turns",
        type=int,
        default=0,
        help="turns with this server and LitServe running side by side",
    )
    parser.add_argument("--overload", action="store_true", help="four times the throughput")
    parser.add_argument(
        "--max-in-flight", type=int, default=4, help="FB_MAX_IN_FLIGHT under overload"
    )
    parser.add_argument(
        "--precision", choices=["fp32", "int8"], default="fp32", help="precision of the graph"
    )
    parser.add_argument("--start", action="store_true", help="startup on the release of FB_LAKE")
    parser.add_argument(
        "--server",
        type=Path,
        default=SERVER,
        help="fb-serve for --start, such as one installed from the server's own lock",
    )
    options = parser.parse_args()
    if options.start:
        start_up(Path(os.environ.get("FB_LAKE", "data")), options.server)
        return
    with tempfile.TemporaryDirectory() as folder:
        lake = make_lake(Path(folder), options.precision)
        if options.overload:
            overload(lake, options.max_in_flight)
        elif options.turns:
            take_turns(lake, options.requests, options.turns)
        else:
            compare(lake, options.requests, options.rounds)


def compare(lake: Path, count: int, rounds: int) -> None:
    """Put the same load on each server in turn; print medians, and ratios within a round."""
    rates: dict[str, list[float]] = {}
    tails: dict[str, list[float]] = {}
    categories: dict[str, dict[int, str]] = {}
    for _ in range(rounds):
        for name, start in SERVERS.items():
            with running(start(lake)) as (port, _):
                ask(port, lake, count=32)
                answers = ask(port, lake, count=count)
            failed = [answer.status for answer in answers if answer.status != 200]
            if failed:
                raise SystemExit(f"{name}: {len(failed)} of {count} requests failed: {failed[:5]}")
            rates.setdefault(name, []).append(throughput(answers))
            tails.setdefault(name, []).append(quantile(answers, 0.99))
            categories[name] = {answer.photo: answer.category for answer in answers}
    ours = next(iter(SERVERS))
    print(
        f"{CLIENTS} clients, {count} requests per round {'requests/s':>12} {'p99 ms':>8}  ours is; "
        "same category"
    )
    for name in SERVERS:
        faster = statistics.median(a / b for a, b in zip(rates[ours], rates[name], strict=True))
        tail = statistics.median(a / b for a, b in zip(tails[ours], tails[name], strict=True))
        same = sum(
            categories[name][photo] == category for photo, category in categories[ours].items()
        )
        print(
            f"{name:36} {statistics.median(rates[name]):9.1f} {statistics.median(tails[name]) * 1000:9.0f}"
            f"  {faster:.2f}x as fast, p99 {tail:.2f}x; {same} of {len(categories[ours])} photos",
            flush=True,
        )


def take_turns(lake: Path, count: int, turns: int) -> None:
    """Print ratios to LitServe over short turns: the machine's speed changes from minute to minute."""
    ratios, tails = [], []
    with running(ours(lake)) as (mine, _), running(litserve(lake)) as (other, _):
        for port in (mine, other):
            ask(port, lake, count=48)
        for turn in range(turns):
            order = (mine, other) if turn % 2 else (other, mine)
            answers = {port: ask(port, lake, count=count) for port in order}
            ratios.append(throughput(answers[mine]) / throughput(answers[other]))
            tails.append(quantile(answers[mine], 0.99) / quantile(answers[other], 0.99))
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    print(
        f"{turns} turns of {count} requests: {middle:.2f}x as fast as LitServe, quartiles {low:.2f} "
        f"to {high:.2f}; p99 {statistics.median(tails):.2f}x"
    )


def start_up(lake: Path, server: Path) -> None:
    """Print the startup time and idle memory on a release: medians of five starts."""
    seconds, idle = [], []
    for _ in range(STARTS):
        started = time.perf_counter()
        with running(ours(lake, server)) as (_, process):
            seconds.append(time.perf_counter() - started)
            time.sleep(1)
            idle.append(memory(process))
    print(
        f"{lake}: ready after {statistics.median(seconds):.1f} s ({min(seconds):.1f} to "
        f"{max(seconds):.1f}), {statistics.median(idle):.0f} MB idle"
    )


def overload(lake: Path, max_in_flight: int) -> None:
    """Print latencies and memory at four times the server's throughput.

    With few slots, accepted requests wait only for the few before them.
    """
    with running(ours(lake), FB_MAX_IN_FLIGHT=str(max_in_flight)) as (port, process):
        ask(port, lake, count=32, clients=max_in_flight)
        capacity = throughput(ask(port, lake, count=240, clients=max_in_flight))
        half = ask(port, lake, rate=capacity / 2, seconds=20)
        before = memory(process)
        with memory_samples(process) as samples:
            flood = ask(port, lake, rate=4 * capacity, seconds=20)
        after = ask(port, lake, count=int(2 * capacity), clients=max_in_flight)
    accepted = [answer for answer in flood if answer.status == 200]
    rejected = [answer for answer in flood if answer.status == 503]
    other = len(flood) - len(accepted) - len(rejected)
    calm, busy = quantile(half, 0.99), quantile(accepted, 0.99)
    print(f"capacity {capacity:.1f} requests/s; p99 at half of that {calm * 1000:.0f} ms")
    print(
        f"at four times that, of {len(flood):,}: {len(accepted):,} accepted, p99 {busy * 1000:.0f} ms "
        f"({busy / calm:.2f}x); {len(rejected):,} rejected, median "
        f"{quantile(rejected, 0.5) * 1000:.1f} ms; {other} other"
    )
    print(f"memory {before:.0f} MB before, {max(samples):.0f} MB peak")
    print(f"in the two seconds after: {throughput(after) / capacity:.2f} of the capacity")


def ours(lake: Path, server: Path = SERVER) -> list[str]:
    """Return the command of this server, without the port."""
    return [str(server), "run", "--lake", str(lake), "--port"]


def original(lake: Path) -> list[str]:
    """Return the command of the plain server, without the port."""
    return [sys.executable, str(HERE / "serving_original.py"), str(lake)]


def litserve(lake: Path) -> list[str]:
    """Return the command of LitServe, without the port."""
    return [sys.executable, str(HERE / "serving_litserve.py"), str(lake)]


SERVERS: Final = {
    "ours": ours,
    "plain (FastAPI, torch fp32)": original,
    "LitServe, our graph": litserve,
}


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
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def ask(
    port: int,
    lake: Path,
    *,
    count: int = 0,
    clients: int = CLIENTS,
    rate: float = 0.0,
    seconds: float = 0.0,
) -> list[Answer]:
    """Put a load on a server from a separate process."""
    command = [sys.executable, str(HERE / "http_load.py"), str(port), PATH, str(lake / "uploads")]
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
def memory_samples(process: psutil.Process) -> Iterator[list[float]]:
    """Sample the memory of a server ten times a second."""
    samples, done = [memory(process)], threading.Event()

    def sample() -> None:
        while not done.wait(0.1):
            samples.append(memory(process))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    main()
