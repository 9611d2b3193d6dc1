"""Start-up of the pipelines and of the server.

Without arguments: time of `kedro registry list`, compared with an empty Kedro project. Expected: at most
1.5 times as long, since pipelines are imported only when they are read.

``--listings``: the server, on the real listings of FB_LAKE, repeated. The time and CPU time from the start
of the process until it answers; the resident memory (VmRSS of /proc/PID/status) idle, after browsing and at
its peak during a swap, with its anonymous part, which the system cannot take back; and latencies of
`GET /search` without words by one client, over HTTP, in each order. Expected at 100,000 listings: 4 s,
600 MB, 1.2 times as much during a swap, and a p99 of 5 ms.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
from large_lake import VERSIONS, make_large_lake
from server_process import running, sample_during, serve_command

from fb_marketplace_serving.release.pointer import read_pointer, set_current
from fb_marketplace_serving.storage.lake import Lake

ROUNDS = 5
KEDRO = Path(sys.executable).with_name("kedro")
PROJECT = Path(__file__).parents[1]
REQUESTS: Final = 200
PATHS: Final = {
    "relevance": "/search?limit=10",
    "newest": "/search?limit=10&sort=newest",
    "cheapest": "/search?limit=10&sort=price_asc",
    "page 40": "/search?limit=10&offset=390",
    "under £50": "/search?limit=10&max_price=50",
    "near Leeds": "/search?limit=10&sort=distance&near=Leeds",
}
MEMORY: Final = {"VmRSS": "resident", "RssAnon": "anonymous", "RssShmem": "shared"}


def main() -> None:
    """Run the chosen benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--listings", type=int, help="start a server with this many")
    parser.add_argument("--lake", type=Path, help="folder to keep or reuse the repeated listings")
    options = parser.parse_args()
    if not options.listings:
        compare_kedro()
        return
    with tempfile.TemporaryDirectory() as temporary:
        lake = options.lake or Path(temporary) / "lake"
        if not lake.exists():
            real = os.environ.get("FB_LAKE", str(PROJECT / "data"))
            make_large_lake(real, lake, options.listings)
        measure_server(lake)


def compare_kedro() -> None:
    """Print the seconds of `kedro registry list` in both projects, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        kedro(Path(folder), "new", "--name=empty", "--tools=none", "--example=n", "--telemetry=no")
        rounds = [(seconds(PROJECT), seconds(Path(folder) / "empty")) for _ in range(ROUNDS)]
    ours, empty = (statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = statistics.median(own / other for own, other in rounds)
    print(
        f"{'kedro registry list':28} ours {ours:.2f} s   empty project {empty:.2f} s   ratio {ratio:.2f}x"
    )


def seconds(project: Path) -> float:
    """Time the command in a project."""
    started = time.perf_counter()
    kedro(project, "registry", "list")
    return time.perf_counter() - started


def kedro(folder: Path, *words: str) -> None:
    """Run Kedro in a folder."""
    subprocess.run([KEDRO, *words], cwd=folder, check=True, capture_output=True)


def measure_server(lake: Path) -> None:
    """Print the time to open, the memory and the latencies of browsing."""
    first, second = VERSIONS
    put_current(lake, first)
    started = time.perf_counter()
    with running(serve_command(lake), FB_RELEASE_POLL_SECONDS="0.2", OMP_NUM_THREADS="1") as (
        port,
        process,
    ):
        cpu = process.cpu_times()
        print(
            f"ready after {time.perf_counter() - started:.1f} s, {cpu.user + cpu.system:.1f} s of CPU"
        )
        time.sleep(1)
        show("idle", memory(process.pid))
        for name, path in PATHS.items():
            times = browse(port, path)
            p50, p99 = np.quantile(times, [0.5, 0.99]) * 1000
            print(f"{name:12} p50 {p50:.1f} ms, p99 {p99:.1f} ms")
        show("browsed", memory(process.pid))
        with sample_during(lambda: memory(process.pid), interval_s=0.02) as samples:
            started = time.perf_counter()
            put_current(lake, second)
            while released(port) != second:
                time.sleep(0.05)
            print(f"swapped after {time.perf_counter() - started:.1f} s")
        peak = {name: max(sample[name] for sample in samples) for name in MEMORY}
        show("swap, peak", peak)
        time.sleep(2)
        show("swapped", memory(process.pid))


def put_current(lake: Path, version: str) -> None:
    """Make a version the current one."""
    target = Lake(str(lake))
    set_current(target, version, read_pointer(target))


def released(port: int) -> str:
    """Return the version that the server serves."""
    return str(get(http.client.HTTPConnection("127.0.0.1", port), "/healthcheck")["release"])


def browse(port: int, path: str) -> list[float]:
    """Return the seconds of each request, on one connection."""
    connection, times = http.client.HTTPConnection("127.0.0.1", port), []
    for _ in range(REQUESTS):
        started = time.perf_counter()
        if not get(connection, path)["hits"]:
            raise SystemExit(f"{path} found no listing")
        times.append(time.perf_counter() - started)
    return times


def get(connection: http.client.HTTPConnection, path: str) -> dict[str, object]:
    """Return the response of the server."""
    connection.request("GET", path)
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise SystemExit(f"{path}: {response.status} {content[:200]!r}")
    return dict(json.loads(content))


def memory(pid: int) -> dict[str, float]:
    """Return the memory of a process in MB, by the names of ``MEMORY``."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) * 1024 / 1e6 for name in MEMORY}


def show(name: str, sizes: dict[str, float]) -> None:
    """Print the memory of a process."""
    print(f"{name:12}", *(f"{label} {sizes[key]:.0f} MB" for key, label in MEMORY.items()))


if __name__ == "__main__":
    main()
