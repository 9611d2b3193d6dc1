"""Compare cleaning on a Ray cluster with cleaning by the processes of one machine, in turns.

    RAY_WORKERS=/opt/workers/bin/python python benchmarks/long/ray_overhead.py RAW --rounds 3

RAW is a local bucket, such as that of `kedro run --pipeline=sample`. The cluster is one head with two cores
on this machine, in a network namespace of its own, so this needs root; see docs/cluster.md. Its start is
not counted, since it serves many runs. The connection, the upload of code and the start of workers are.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT / "tests"))
from support import ray_cluster  # noqa: E402
from support.kedro_project import BIN, Place, command  # noqa: E402

CORES = 2
DAY = 24 * 3600


def main() -> None:
    """Print the seconds of each run, and the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("raw", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[str, list[tuple[float, float]]] = {"local": [], "ray": []}
    print(f"{'engine':8} {'photos':>9} {'read_photos s':>14} {'cleaning s':>11}")
    for _ in range(options.rounds):
        for engine, times in seconds.items():
            with tempfile.TemporaryDirectory() as lake:
                place = Place(PROJECT, str(options.raw.resolve()), lake)
                times.append(run(place, engine))
                node, total = times[-1]
                print(
                    f"{engine:8} {len(place.photo_table()):9,} {node:14.1f} {total:11.1f}",
                    flush=True,
                )
    for number, name in enumerate(("read_photos", "cleaning")):
        local, ray = (
            statistics.median(times[number] for times in seconds[engine])
            for engine in ("local", "ray")
        )
        print(f"{name}: Ray takes {ray / local - 1:+.1%}")


def run(place: Place, engine: str) -> tuple[float, float]:
    """Run cleaning; return the seconds of ``read_photos`` and of all nodes."""
    words = [
        *(str(BIN / "kedro"), "run", "--pipeline=cleaning"),
        f"--params=cleaning.photos.processes={CORES}",
    ]
    if engine == "ray":
        ray_cluster.beside_head(
            *(os.environ["RAY_WORKERS"], *words, "--env=ray"),
            environment=place.environment,
            seconds=DAY,
        )
    else:
        command(*words, cwd=PROJECT, environment=place.environment, seconds=DAY)
    (version,) = place.records()
    report = place.json("run_report", version)
    nodes = {node["node"]: node["seconds"] for node in report["nodes"]}
    return nodes["read_photos"], report["seconds"]


if __name__ == "__main__":
    main()
