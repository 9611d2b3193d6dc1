"""Throughput and CPU time per request of this server and that of another commit, side by side.

    git worktree add --detach OLD 630e8bb
    FB_LAKE=<lake> .venv/bin/python benchmarks/serving_versions.py OLD OLD_LAKE

Each server serves a release that its own pipelines built from the same listings. Turns of short loads from
four clients alternate between the two. CPU time includes all processes of a server, but not the clients.

Searches repeat the same texts, whose embeddings this server caches, and then each turn has new texts.

Before measuring, equal times were expected, since most of the time is the encoder's. Against 630e8bb, they
were equal within a tenth: see docs/speed.md.
"""

import argparse
import os
import statistics
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

import psutil
from http_load import Answer
from photos_of_sample import uploads
from server_process import put_load, running, serve_command, throughput

from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.search.tokenizer import words

CLIENTS: Final = 4
WARM_UP: Final = 48
UPLOADS: Final = 64
QUERIES: Final = 200
PATHS: Final = ("/predict/image", "/predict/similar_images", "/search")


def main() -> None:
    """Print requests per second and CPU time per request, with the medians of their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkout", type=Path, help="another commit of the project")
    parser.add_argument("lake", type=Path, help="lake of the other commit")
    parser.add_argument("--requests", type=int, default=50, help="per turn")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--paths", nargs="+", default=PATHS)
    options = parser.parse_args()
    lake = Path(os.environ.get("FB_LAKE", "data"))
    checkout = options.checkout.resolve()
    modules = os.pathsep.join(str(checkout / folder) for folder in ("src", "serving/src"))
    with tempfile.TemporaryDirectory() as name:
        folder, count, turns = Path(name), options.requests, options.turns
        photos, texts = write_photos(folder / "photos"), titles(lake)
        loads = {path: [photos] * (turns + 1) for path in options.paths}
        if "/search" in loads:
            loads["/search"] = write_texts(folder, [texts] * (turns + 1))
            loads["/search of new texts"] = write_texts(folder, new_texts(texts, count, turns + 1))
        with (
            running(serve_command(lake)) as mine,
            running(command_of(checkout, options.lake), PYTHONPATH=modules) as other,
        ):
            for load, contents in loads.items():
                take_turns([mine, other], load, contents, count)


def command_of(checkout: Path, lake: Path) -> list[str]:
    """Return the command of another commit's server, without the port."""
    project = tomllib.loads((checkout / "serving/pyproject.toml").read_text())
    module, _, function = project["project"]["scripts"]["fb-serve"].partition(":")
    program = f"import sys; from {module} import {function} as main; sys.exit(main())"
    return [sys.executable, "-c", program, "run", "--lake", str(lake.resolve()), "--port"]


def write_photos(folder: Path) -> Path:
    """Write photos of the sample, as sellers upload them."""
    folder.mkdir()
    for name, content in uploads(UPLOADS):
        (folder / name).write_bytes(content)
    return folder


def write_texts(folder: Path, turns: list[list[str]]) -> list[Path]:
    """Write the texts of each turn to a file."""
    files = []
    for texts in turns:
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
            file.write("\n".join(texts))
        files.append(Path(file.name))
    return files


def new_texts(texts: list[str], count: int, turns: int) -> list[list[str]]:
    """Return for each turn texts of two titles that no other turn has."""
    pairs = [f"{a} {b.split()[0]}" for b in texts if b for a in texts if a and a != b]
    distinct = list(dict.fromkeys(pairs))
    return [distinct[turn * count : (turn + 1) * count] for turn in range(turns)]


def titles(lake: Path) -> list[str]:
    """Return the first words of titles."""
    listings = list(Release.open(str(lake)).listings.values())
    return [" ".join(words(listing.title)[:3]) for listing in listings[:QUERIES]]


def take_turns(
    servers: list[tuple[int, psutil.Process]], load: str, contents: list[Path], count: int
) -> None:
    """Put the same short load on each server in turn, and print the results.

    Args:
        servers: ports and processes of this server and the other.
        load: path of the requests, and a description.
        contents: photos or texts of the warm-up, and of each turn.
        count: requests per turn.
    """
    path = load.partition(" ")[0]
    rates: list[list[float]] = [[], []]
    seconds: list[list[float]] = [[], []]
    for port, _ in servers:
        put_load(port, path, contents[0], count=WARM_UP, clients=CLIENTS)
    for turn, content in enumerate(contents[1:]):
        for number in (0, 1) if turn % 2 else (1, 0):
            port, process = servers[number]
            before = cpu_seconds(process)
            answers = put_load(port, path, content, count=count, clients=CLIENTS)
            seconds[number].append((cpu_seconds(process) - before) / count)
            rates[number].append(throughput(answers))
            check(path, answers)
    (mine, other), (my_seconds, other_seconds) = rates, seconds
    print(
        f"{load}: {statistics.median(mine):.1f} requests/s, the other {statistics.median(other):.1f} "
        f"({median_ratio(mine, other):.2f}x); {1000 * statistics.fmean(my_seconds):.2f} ms of CPU, the "
        f"other {1000 * statistics.fmean(other_seconds):.2f} ms "
        f"({median_ratio(other_seconds, my_seconds):.2f}x)",
        flush=True,
    )


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time of a server and its running children."""
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


def check(path: str, answers: list[Answer]) -> None:
    """Stop if a request failed."""
    failed = [answer.status for answer in answers if answer.status != 200]
    if failed:
        raise SystemExit(f"{path}: {len(failed)} of {len(answers)} requests failed: {failed[:5]}")


def median_ratio(numerators: list[float], denominators: list[float]) -> float:
    """Return the median of the ratios within a turn: the machine's speed changes meanwhile."""
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))


if __name__ == "__main__":
    main()
