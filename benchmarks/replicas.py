"""Several servers of one large release in S3, searched by Lance, behind nginx. One is killed under load.

    FB_LAKE=<lake> .venv/bin/python benchmarks/replicas.py --listings 1000000

The listings are those of FB_LAKE, repeated (:mod:`large_lake`). SeaweedFS, nginx, the servers and the load
share the cores. Prints the time until each server answers, its memory (:mod:`startup`) idle and after the
load, the latencies, and the statuses of the responses. Ends with status 1 if a request failed.

Expected at 200,000 listings: no failed request, since nginx repeats a request that a killed server had not
answered. At 1,000,000, each server has 0.7 GB of its own ("anonymous"). ``--memory 1e9``, as root, limits
this and the files that the system has cached for a server to 1 GB. This is too little at 1,000,000: half of
the searches time out.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import psutil
from bucket import seaweed
from http_load import Answer
from large_lake import make_large_lake
from search_engines import PARAMETERS
from server_process import free_port, put_load, quantile, running, serve_command
from startup import memory, show
from support.proxies import nginx

from fb_marketplace.ann.vector_tables import VectorTableSource
from fb_marketplace.pipelines.release.build_manifest import make_vector_table
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.manifest import INDEXES, Manifest
from fb_marketplace_serving.release.photo_store import FOLDER
from fb_marketplace_serving.release.pointer import publish, read_current
from fb_marketplace_serving.storage.lake import Lake

WARM_UP: Final = "first searches"
KILL: Final = "with a kill"
WARM_UP_SECONDS: Final = 30
TITLES: Final = 2_000


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--listings", type=int, default=1_000_000)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--rate", type=float, default=2.0, help="searches per second")
    parser.add_argument(
        "--seconds", type=float, default=40.0, help="of load; half of it with all servers"
    )
    parser.add_argument("--memory", type=float, help="limit of each server in bytes, as root")
    parser.add_argument("--bucket", type=Path, help="folder to keep or reuse the bucket")
    options = parser.parse_args()
    real = os.environ.get("FB_LAKE", "data")
    is_kept = options.bucket is not None and options.bucket.exists()
    with tempfile.TemporaryDirectory() as folder, seaweed.running(options.bucket) as store:
        os.environ.update(store.environment)
        lake = Lake("s3://lake" if is_kept else store.make_bucket("lake"))
        if is_kept:
            manifest = read_current(lake)
        else:
            with tempfile.TemporaryDirectory() as local:
                make_large_lake(real, Path(local, "lake"), options.listings)
                manifest = upload(Lake(f"{local}/lake"), lake)
        queries = write_queries(real, manifest, Path(folder))
        os.environ.update(store.reader)
        failed = measure(lake.url, queries, Path(folder), options)
    sys.exit(1 if failed else 0)


def upload(source: Lake, target: Lake) -> Manifest:
    """Copy the current release, with tables in place of its indexes."""
    manifest = read_current(source)
    for path in source.find(FOLDER):
        target.filesystem.put_file(source.full_path(path), target.full_path(path))
    tables, artifacts = {}, {}
    for name, file in manifest.artifacts.items():
        if name not in INDEXES:
            target.filesystem.put_file(source.full_path(file.path), target.full_path(file.path))
            artifacts[name] = file
            continue
        started = time.perf_counter()
        url = f"{target.url}/tables/{name}"
        index = FileRef(source.full_path(file.path))
        table = VectorTableSource(index, PARAMETERS).write(url)
        tables[name] = make_vector_table(target, url, table)
        size = sum(part.bytes for part in tables[name].files)
        print(f"{name}: {size / 1e9:.2f} GB, written in {time.perf_counter() - started:.0f} s")
    fields = {"artifacts": artifacts, "search_engine": "lance", "vector_tables": tables}
    manifest = Manifest.model_validate(manifest.model_dump() | fields)
    publish(target, manifest)
    return manifest


def write_queries(real: str, manifest: Manifest, folder: Path) -> dict[str, Path]:
    """Write titles and photos, and return their file and folder."""
    listings = Release.open(real).listings.values()
    titles = [listing.title for _, listing in zip(range(TITLES), listings, strict=False)]
    words, photos = folder / "titles", folder / "photos"
    words.write_text("\n".join(titles))
    photos.mkdir()
    for canary in manifest.canaries:
        photos.joinpath(f"{canary.image_id}.jpg").write_bytes(canary.jpeg)
    return {"words": words, "photo": photos}


def measure(lake: str, queries: dict[str, Path], folder: Path, options: argparse.Namespace) -> int:
    """Start the servers, search, and kill the first one meanwhile. Return the number of failed requests."""
    settings = {"FB_TRUSTED_PROXIES": "127.0.0.1", "FB_LOG_LEVEL": "error", "OMP_NUM_THREADS": "1"}
    with contextlib.ExitStack() as stack:
        servers = []
        for number in range(options.replicas):
            command = serve_command(lake)
            if options.memory:
                group = stack.enter_context(memory_group(f"replica{number}", int(options.memory)))
                command = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh", *command]
            started = time.perf_counter()
            servers.append(stack.enter_context(running(command, **settings)))
            _, process = servers[-1]
            cpu = process.cpu_times()
            print(
                f"ready after {time.perf_counter() - started:.0f} s, {cpu.user + cpu.system:.0f} s of CPU"
            )
            show("idle", memory(process.pid))
        port = free_port()
        addresses = [f"127.0.0.1:{server}" for server, _ in servers]
        stack.enter_context(run_command(nginx(folder, port, *addresses)))
        failed = 0
        for name, seconds in ((WARM_UP, WARM_UP_SECONDS), (KILL, options.seconds)):
            with ThreadPoolExecutor(1) as pool:
                load = pool.submit(search, port, queries, options.rate, seconds)
                if name == KILL:
                    time.sleep(seconds / 2)
                    for _, process in servers:
                        if process.status() == psutil.STATUS_ZOMBIE:
                            sys.exit("a server has ended: see the kernel's log")
                        show("searched", memory(process.pid))
                    servers[0][1].kill()
                answers = load.result()
            for kind, responses in answers.items():
                statuses = dict(Counter(answer.status for answer in responses))
                p50, p99 = (1000 * quantile(responses, share) for share in (0.5, 0.99))
                print(f"{name}, {kind}: p50 {p50:.0f} ms, p99 {p99:.0f} ms, statuses {statuses}")
                # A server that is warming up may reject searches of a busy machine.
                failed += name == KILL and sum(answer.status != 200 for answer in responses)
        show("at the end", memory(servers[-1][1].pid))
    return failed


@contextlib.contextmanager
def memory_group(name: str, limit: int) -> Iterator[Path]:
    """Create a cgroup whose processes, with the files that they have cached, have a limited memory."""
    root = Path("/sys/fs/cgroup")
    is_first_version = (root / "memory").exists()
    group = (root / "memory" if is_first_version else root) / name
    group.mkdir()
    file = "memory.limit_in_bytes" if is_first_version else "memory.max"
    (group / file).write_text(str(limit))
    try:
        yield group
    finally:
        time.sleep(1)  # until its processes are gone
        group.rmdir()


@contextlib.contextmanager
def run_command(command: list[str]) -> Iterator[None]:
    """Run a command while the block lasts."""
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        time.sleep(1)
        try:
            yield
        finally:
            process.terminate()


def search(
    port: int, queries: dict[str, Path], rate: float, seconds: float
) -> dict[str, list[Answer]]:
    """Search by each kind of query at the same time; together at a rate."""
    with ThreadPoolExecutor() as pool:
        loads = {
            kind: pool.submit(
                put_load, port, "/search", content, rate=rate / len(queries), seconds=seconds
            )
            for kind, content in queries.items()
        }
        return {kind: load.result() for kind, load in loads.items()}


if __name__ == "__main__":
    main()
