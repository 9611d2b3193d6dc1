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
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
from http_load import Answer
from server_process import (
    CLIENTS,
    HERE,
    SERVER,
    memory,
    put_load,
    quantile,
    running,
    sample_during,
    serve_command,
    throughput,
)
from serving_lake import make_lake

PATH: Final = "/predict/image"
ROUNDS: Final = 3
STARTS: Final = 5


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
    with running(serve_command(lake)) as (mine, _), running(litserve(lake)) as (other, _):
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
        with running(serve_command(lake, server)) as (_, process):
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
    with running(serve_command(lake), FB_MAX_IN_FLIGHT=str(max_in_flight)) as (port, process):
        ask(port, lake, count=32, clients=max_in_flight)
        capacity = throughput(ask(port, lake, count=240, clients=max_in_flight))
        half = ask(port, lake, rate=capacity / 2, seconds=20)
        before = memory(process)
        with sample_during(lambda: memory(process), interval_s=0.1) as samples:
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


def original(lake: Path) -> list[str]:
    """Return the command of the plain server, without the port."""
    return [sys.executable, str(HERE / "serving_original.py"), str(lake)]


def litserve(lake: Path) -> list[str]:
    """Return the command of LitServe, without the port."""
    return [sys.executable, str(HERE / "serving_litserve.py"), str(lake)]


SERVERS: Final = {
    "ours": serve_command,
    "plain (FastAPI, torch fp32)": original,
    "LitServe, our graph": litserve,
}


def ask(port: int, lake: Path, **load: float) -> list[Answer]:
    """Upload the photos of a lake; see :func:`put_load`."""
    return put_load(port, PATH, lake / "uploads", **load)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
