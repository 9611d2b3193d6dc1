"""Requests a second and their latencies: this server, the original's way, and LitServe, in turn.

All serve one ResNet50 and the same photos to 16 clients, each of which waits for its answer and asks again.
The original's way is FastAPI with torch in fp32 within the handler; LitServe gets the graph that we serve.
``--turns`` lets this server and LitServe run both, and asks them in short turns.
``--start`` starts it on the release of FB_LAKE, which may be a real one, and says what that takes.
``--overload`` puts four times what it can carry on this server: how long those wait that are taken on, how
soon the others are told, and how soon all is well again.

Expected before it was measured: 3x the original, as ONNX Runtime is 2.5x torch at batch 1 and 16 threads of
torch fight over the cores; 1x LitServe or little more, as the encoder takes nearly all of the time. Under
four times the load: 503 within 5 ms, as a refusal reads the body and no more.
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
READY: Final = 120
SERVER: Final = Path(sys.executable).with_name("fb-serve")


def main() -> None:
    """Print the comparison, or what becomes of an overload."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=240, help="in a round")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--turns", type=int, default=0, help="of this server and LitServe, both of which run"
    )
    parser.add_argument("--overload", action="store_true", help="four times what it can carry")
    parser.add_argument(
        "--queue", type=int, default=4, help="places under overload: FB_MAX_IN_FLIGHT"
    )
    parser.add_argument(
        "--precision", choices=["fp32", "int8"], default="fp32", help="of the graph"
    )
    parser.add_argument("--start", action="store_true", help="on the release of FB_LAKE alone")
    parser.add_argument(
        "--server",
        type=Path,
        default=SERVER,
        help="what --start starts: that of an environment of the server's own lock, perhaps",
    )
    told = parser.parse_args()
    if told.start:
        start_up(Path(os.environ.get("FB_LAKE", "data")), told.server)
        return
    with tempfile.TemporaryDirectory() as folder:
        lake = make_lake(Path(folder), told.precision)
        if told.overload:
            overload(lake, told.queue)
        elif told.turns:
            take_turns(lake, told.requests, told.turns)
        else:
            compare(lake, told.requests, told.rounds)


def compare(lake: Path, count: int, rounds: int) -> None:
    """Put the same load on each server, round by round; print medians, and ratios within a round."""
    rates: dict[str, list[float]] = {}
    tails: dict[str, list[float]] = {}
    said: dict[str, dict[int, str]] = {}
    for _ in range(rounds):
        for name, start in WAYS.items():
            with running(start(lake)) as (port, _):
                ask(port, lake, count=32)
                found = ask(port, lake, count=count)
            refused = [answer.status for answer in found if answer.status != 200]
            if refused:
                raise SystemExit(
                    f"{name}: {len(refused)} of {count} were not answered: {refused[:5]}"
                )
            rates.setdefault(name, []).append(rate_of(found))
            tails.setdefault(name, []).append(quantile(found, 0.99))
            said[name] = {answer.photo: answer.category for answer in found}
    ours = next(iter(WAYS))
    print(
        f"{CLIENTS} clients, {count} requests a round {'requests/s':>12} {'p99 ms':>8}  ours is; "
        "says as ours"
    )
    for name in WAYS:
        faster = statistics.median(a / b for a, b in zip(rates[ours], rates[name], strict=True))
        tail = statistics.median(a / b for a, b in zip(tails[ours], tails[name], strict=True))
        same = sum(said[name][photo] == category for photo, category in said[ours].items())
        print(
            f"{name:36} {statistics.median(rates[name]):9.1f} {statistics.median(tails[name]) * 1000:9.0f}"
            f"  {faster:.2f}x as quick, p99 {tail:.2f} of it; {same} of {len(said[ours])} photos",
            flush=True,
        )


def take_turns(lake: Path, count: int, turns: int) -> None:
    """Print ratios to LitServe in short turns while both run: the machine changes from minute to minute."""
    ratios, tails = [], []
    with running(ours(lake)) as (mine, _), running(litserve(lake)) as (other, _):
        for port in (mine, other):
            ask(port, lake, count=48)
        for turn in range(turns):
            order = (mine, other) if turn % 2 else (other, mine)
            found = {port: ask(port, lake, count=count) for port in order}
            ratios.append(rate_of(found[mine]) / rate_of(found[other]))
            tails.append(quantile(found[mine], 0.99) / quantile(found[other], 0.99))
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    print(
        f"{turns} turns of {count} requests: {middle:.2f}x as quick as LitServe, quartiles {low:.2f} "
        f"to {high:.2f}; p99 {statistics.median(tails):.2f} of it"
    )


def start_up(lake: Path, server: Path) -> None:
    """Print how soon the server answers on a release, and its memory when idle: medians of five starts."""
    seconds, idle = [], []
    for _ in range(STARTS):
        started = time.perf_counter()
        with running(ours(lake, server)) as (_, process):
            seconds.append(time.perf_counter() - started)
            time.sleep(1)
            idle.append(memory(process))
    print(
        f"{lake}: answers after {statistics.median(seconds):.1f} s ({min(seconds):.1f} to "
        f"{max(seconds):.1f}), {statistics.median(idle):.0f} MB when idle"
    )


def overload(lake: Path, queue: int) -> None:
    """Print what becomes of four times what the server can carry.

    With few places: what is taken on waits for those before it, and no longer.
    """
    with running(ours(lake), FB_MAX_IN_FLIGHT=str(queue)) as (port, process):
        ask(port, lake, count=32, clients=queue)
        carried = rate_of(ask(port, lake, count=240, clients=queue))
        half = ask(port, lake, rate=carried / 2, seconds=20)
        before = memory(process)
        with watched(process) as seen:
            flood = ask(port, lake, rate=4 * carried, seconds=20)
        after = ask(port, lake, count=int(2 * carried), clients=queue)
    taken = [answer for answer in flood if answer.status == 200]
    told = [answer for answer in flood if answer.status == 503]
    other = len(flood) - len(taken) - len(told)
    calm, busy = quantile(half, 0.99), quantile(taken, 0.99)
    print(f"it carries {carried:.1f} requests a second; p99 at half of that {calm * 1000:.0f} ms")
    print(
        f"at four times that, of {len(flood):,}: {len(taken):,} answered, p99 {busy * 1000:.0f} ms "
        f"({busy / calm:.2f}x); {len(told):,} told 503, median {quantile(told, 0.5) * 1000:.1f} ms; "
        f"{other} anything else"
    )
    print(f"memory {before:.0f} MB before, {max(seen):.0f} MB at most during it")
    print(f"in the two seconds after: {rate_of(after) / carried:.2f} of the speed before")


def ours(lake: Path, server: Path = SERVER) -> list[str]:
    """Give the command of this server, but for its port."""
    return [str(server), "run", "--lake", str(lake), "--port"]


def original(lake: Path) -> list[str]:
    """Give the command of the original's way, but for its port."""
    return [sys.executable, str(HERE / "serving_original.py"), str(lake)]


def litserve(lake: Path) -> list[str]:
    """Give the command of LitServe, but for its port."""
    return [sys.executable, str(HERE / "serving_litserve.py"), str(lake)]


WAYS: Final = {
    "ours": ours,
    "the original's (FastAPI, torch fp32)": original,
    "LitServe, our graph": litserve,
}


@contextmanager
def running(command: Sequence[str], **settings: str) -> Iterator[tuple[int, psutil.Process]]:
    """Run a server on a free port until it is no longer needed."""
    port = free_port()
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            [*command, str(port)], stdout=said, stderr=said, env=os.environ | settings
        ) as process,
    ):
        tree = psutil.Process(process.pid)
        try:
            until_ready(port, process, said)
            yield port, tree
        finally:
            if process.poll() is None:
                for each in [*tree.children(recursive=True), tree]:
                    each.kill()


def until_ready(port: int, process: subprocess.Popen[bytes], said: IO[str]) -> None:
    """Wait until a server takes connections and can answer."""
    for _ in range(READY * 10):
        if process.poll() is not None:
            said.seek(0)
            raise SystemExit(
                f"{process.args} ended with {process.returncode}: {said.read()[-2000:]}"
            )
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{process.args} did not answer within {READY} s")


def free_port() -> int:
    """Find a port that is free now."""
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
    """Put a load on a server from a process of its own."""
    command = [sys.executable, str(HERE / "http_load.py"), str(port), PATH, str(lake / "uploads")]
    command += [f"--clients={clients}", f"--count={count}"]
    if rate:
        command += [f"--rate={rate}", f"--seconds={seconds}"]
    found = subprocess.run(command, check=True, capture_output=True)
    return [Answer(*each) for each in json.loads(found.stdout)]


def rate_of(answers: Sequence[Answer]) -> float:
    """Give the answers a second."""
    ends = max(answer.sent + answer.took for answer in answers)
    return len(answers) / (ends - min(answer.sent for answer in answers))


def quantile(answers: Sequence[Answer], share: float) -> float:
    """Give a quantile of the latencies, in seconds."""
    return float(np.quantile([answer.took for answer in answers], share))


def memory(process: psutil.Process) -> float:
    """Give the resident memory of a server in MB."""
    return float(process.memory_info().rss / 1e6)


@contextmanager
def watched(process: psutil.Process) -> Iterator[list[float]]:
    """Look at the memory of a server ten times a second."""
    seen, over = [memory(process)], threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            seen.append(memory(process))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


if __name__ == "__main__":
    main()
