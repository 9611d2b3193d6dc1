"""Photos a second from S3 to the table, beside reading them one after another; and peak memory by number.

The plain way is one ``cat_file`` of s3fs as it comes after another, then the same cleaning and the same
commits, in one process. Ours is the path of a run: listed once, fetched in concurrent batches by as many
processes as there are cores. Both read from a real SeaweedFS, and write to a Lance table in it; for the
latency a proxy (``tests/support/fault_proxy.py``, its own process) delays each request for so long.
The server and the proxy are on the same cores as what is measured.

Expected before it was measured: at no latency 2x, since s3fs asks for each file's size before it reads
it, and since two cores read photos instead of one; fetching alone, 3x. At 40 ms the plain way waits two
times 40 ms a photo, some 12 a second, where ours is held up by the cores alone: 15x and more, fetching
alone 40x. Memory flat, since batches are bounded and rows are committed as they come.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cleaning import base_parameters, matched_with_rows, peak_of, pictures
from PIL import Image

from fb_marketplace.parameters.cleaning import CleaningParameters
from fb_marketplace.pipelines.cleaning.photos import PhotoRequest, read_photo_batch, read_photos
from fb_marketplace.schemas.lance import IMAGES
from fb_marketplace.storage import filesystem as storage
from fb_marketplace.storage import keyed_table
from fb_marketplace.storage.keyed_table import KeepOnly
from fb_marketplace.storage.photo_source import PhotoFile, PhotoSource, batch_by_bytes
from fb_marketplace_serving.imaging import canonical

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))
from support import seaweed  # noqa: E402

LATENCIES = (0.0, 0.04)
SIZE = (320, 240)
PHOTOS = 3_000
BATCH = 256
"""As in ``conf/base``; of the plain way no more than one is timed: it takes its time."""
MEMORY_OF = (2_000, 20_000)
ROUNDS = 3


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=PHOTOS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--no-memory", action="store_true", help="compare speeds alone")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.memory_of:
        ours(told.memory_of, "s3://tables")
        return
    with seaweed.running() as server:
        os.environ.update(server.environment)
        server.make_bucket("tables")
        compare_speeds(server, told.photos, told.rounds)
        if not told.no_memory:
            compare_memory(server)


def compare_speeds(server: seaweed.Seaweed, count: int, rounds: int) -> None:
    """Time both ways, whole and fetching alone, in turn, round by round."""
    folder = fill(server, count)
    print(f"{count:,} photos of {SIZE[0]} x {SIZE[1]}; photos a second")
    print(
        f"{'added latency':>14} {'plain':>8} {'ours':>8} {'ratio':>7} "
        f"{'fetched plain':>14} {'ours':>8} {'ratio':>7} {'fetching is':>12}"
    )
    for latency in LATENCIES:
        with behind_proxy(server, latency):
            rates: dict[str, list[float]] = {name: [] for name in ("plain", "ours", "one", "many")}
            for _ in range(rounds):
                rates["plain"].append(plain(folder, "s3://tables"))
                rates["ours"].append(ours(folder, "s3://tables"))
                rates["one"].append(fetch_plainly(folder))
                rates["many"].append(fetch(folder))
        plain_s, ours_s, one, many = (statistics.median(each) for each in rates.values())
        whole, fetching = ratio(rates, "ours", "plain"), ratio(rates, "many", "one")
        part = ratio(rates, "ours", "many") / cores()
        print(
            f"{latency * 1000:11.0f} ms {plain_s:8.1f} {ours_s:8.1f} {whole:6.1f}x "
            f"{one:14.1f} {many:8.1f} {fetching:6.1f}x {part:11.0%}",
            flush=True,
        )


def ratio(rates: dict[str, list[float]], way: str, to: str) -> float:
    """Give the median over rounds of the ratio within a round, which a busy machine blurs least."""
    return statistics.median(a / b for a, b in zip(rates[way], rates[to], strict=True))


def cores() -> int:
    """Give how many cores there are."""
    return len(os.sched_getaffinity(0))


def compare_memory(server: seaweed.Seaweed) -> None:
    """Measure the peak of all processes together while photos are read into a table."""
    print(f"\n{'photos into a table':28} {'peak MB':>8}")
    peaks = []
    for count in MEMORY_OF:
        folder = fill(server, count)
        peaks.append(peak_of([sys.executable, __file__, "--memory-of", folder]))
        print(f"{count:28,} {peaks[-1] / 1e6:8.0f}", flush=True)
    print(f"{f'{MEMORY_OF[1]:,} over {MEMORY_OF[0]:,}':28} {peaks[1] / peaks[0]:7.2f}x")


def fill(server: seaweed.Seaweed, count: int) -> str:
    """Make a bucket of so many photos; gives the URL of their folder."""
    folder = f"{server.make_bucket(f'raw-{uuid.uuid4().hex}')}/images"
    drawn = list(_drawn())
    filesystem, root = storage.open_root(folder)
    for start in range(0, count, 500):
        numbers = range(start, min(count, start + 500))
        filesystem.pipe({f"{root}/{n:06}.jpg": drawn[n % len(drawn)] for n in numbers})
    return folder


def _drawn() -> Iterator[bytes]:
    with tempfile.TemporaryFile() as file:
        for picture in pictures():
            file.seek(0)
            file.truncate()
            picture.resize(SIZE, Image.Resampling.BICUBIC).save(file, "JPEG", quality=88)
            file.seek(0)
            yield file.read()


@contextlib.contextmanager
def behind_proxy(server: seaweed.Seaweed, latency: float) -> Iterator[None]:
    """Have every client ask a proxy that adds a latency; without one, the server itself."""
    if not latency:
        yield
        return
    command = [
        sys.executable,
        "-m",
        "support.fault_proxy",
        server.endpoint,
        "--latency",
        str(latency),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TESTS
    ) as proxy:
        assert proxy.stdout is not None
        before = os.environ["AWS_ENDPOINT_URL_S3"]
        os.environ["AWS_ENDPOINT_URL_S3"] = proxy.stdout.readline().strip()
        _forget_clients()
        try:
            yield
        finally:
            os.environ["AWS_ENDPOINT_URL_S3"] = before
            _forget_clients()
            proxy.terminate()


def _forget_clients() -> None:
    """A client that is kept would go on to ask where it was told first."""
    from fb_marketplace_serving.storage.s3 import RetryingS3FileSystem

    RetryingS3FileSystem.clear_instance_cache()


class OneAfterAnother:
    """A folder whose photos are fetched by s3fs as it comes, one after another."""

    def __init__(self, url: str) -> None:
        """Open it anew: nothing is kept from another endpoint."""
        import s3fs

        self._files = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
        self._root = url.removeprefix("s3://")

    def files(self) -> list[PhotoFile]:
        """List the folder."""
        found = self._files.find(self._root, detail=True)
        return [
            PhotoFile(path.removeprefix(f"{self._root}/"), info["size"], info["ETag"])
            for path, info in sorted(found.items())
        ]

    def fetch(self, files: Sequence[PhotoFile]) -> list[bytes]:
        """Fetch photos."""
        return [self._files.cat_file(f"{self._root}/{file.key}") for file in files]


def plain(url: str, bucket: str) -> float:
    """Read photos one after another into a table of their own; gives photos a second."""
    table = f"{bucket}/{uuid.uuid4().hex}.lance"
    keyed_table.ensure_table(table, IMAGES)
    started = time.perf_counter()
    folder: Any = OneAfterAnother(url)
    files = folder.files()[:BATCH]
    read = partial(read_photo_batch, folder=folder, limits=canonical.Limits())
    for batch in batch_by_bytes(files, BATCH):
        usable, _ = read([PhotoRequest(file.key, file.key, "product", file) for file in batch])
        keyed_table.insert(table, usable)
    return len(files) / (time.perf_counter() - started)


def ours(url: str, bucket: str) -> float:
    """Read photos as a run does into a table of their own; gives photos a second, once all are at work."""
    table = f"{bucket}/{uuid.uuid4().hex}.lance"
    keyed_table.ensure_table(table, IMAGES)
    folder = PhotoSource(url)
    files = folder.files()
    matched = matched_with_rows(files)
    settings = CleaningParameters.model_validate(base_parameters())
    started = before = 0.0
    for number, (usable, _) in enumerate(
        read_photos(matched, folder, frozenset(), frozenset(), settings)
    ):
        if isinstance(usable, KeepOnly):
            continue
        keyed_table.insert(table, usable)
        if number <= cores():
            # A run starts its processes once; what they cost is not what is compared.
            started, before = time.perf_counter(), before + len(usable)
    seconds = time.perf_counter() - started
    assert len(keyed_table.open_table(table)) == len(files)
    return (len(files) - before) / seconds


def fetch_plainly(url: str) -> float:
    """List and fetch photos one after another; gives photos a second."""
    started = time.perf_counter()
    folder = OneAfterAnother(url)
    files = folder.files()[:BATCH]
    folder.fetch(files)
    return len(files) / (time.perf_counter() - started)


def fetch(url: str) -> float:
    """List and fetch photos in batches, in one process; gives photos a second."""
    started = time.perf_counter()
    folder = PhotoSource(url)
    files = folder.files()
    for batch in batch_by_bytes(files, BATCH):
        folder.fetch(batch)
    return len(files) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
