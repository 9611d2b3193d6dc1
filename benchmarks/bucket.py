"""Photos per second from S3 to the table, compared with sequential reading; and peak memory.

The baseline calls ``cat_file`` of plain s3fs for one photo after the other, then does the same cleaning and
commits, in one process. Ours is the path of a run: one listing, concurrent batches, one process per core.
Both read from SeaweedFS and write to a Lance table there. A proxy (``tests/support/fault_proxy.py``, a
process of its own) adds the latency. The server and the proxy share the cores with the measured processes.

Expected before the measurement: without latency 2x, since s3fs asks for the size of each file first, and
two cores read instead of one; fetching only, 3x. At 40 ms the baseline waits 80 ms per photo, some 12 per
second, while ours is limited by the cores: 15x or more; fetching only, 40x. Constant memory, since batches
are bounded and rows are committed at once.
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
from pathlib import Path
from typing import Any

from cleaning import base_parameters, matched_with_rows, peak_of, pictures
from PIL import Image

from fb_marketplace.parameters.cleaning import CleaningParameters, DisplayParameters
from fb_marketplace.pipelines.cleaning.photos import read_photos
from fb_marketplace.schemas.lance import IMAGES
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.keyed_table import KeepOnly
from fb_marketplace.storage.keys import Keys
from fb_marketplace.storage.photo_source import PhotoFile, PhotoSource
from fb_marketplace_serving.storage.lake import Lake

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))
from support import seaweed  # noqa: E402

LATENCIES = (0.0, 0.04)
SIZE = (320, 240)
PHOTOS = 3_000
BATCH = 256
"""As in ``conf/base``. The baseline is timed on one batch only, since it is slow."""
MEMORY_OF = (2_000, 20_000)
ROUNDS = 3


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=PHOTOS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--no-memory", action="store_true", help="compare speeds only")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        ours(options.memory_of, "s3://tables")
        return
    with seaweed.running() as server:
        os.environ.update(server.environment)
        server.make_bucket("tables")
        compare_speeds(server, options.photos, options.rounds)
        if not options.no_memory:
            compare_memory(server)


def compare_speeds(server: seaweed.Seaweed, count: int, rounds: int) -> None:
    """Time both ways, complete and fetching only, alternating in each round."""
    folder = fill(server, count)
    print(f"{count:,} photos of {SIZE[0]} x {SIZE[1]}; photos per second")
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
        plain_s, ours_s, one, many = (statistics.median(values) for values in rates.values())
        complete, fetching = ratio(rates, "ours", "plain"), ratio(rates, "many", "one")
        part = ratio(rates, "ours", "many") / cores()
        print(
            f"{latency * 1000:11.0f} ms {plain_s:8.1f} {ours_s:8.1f} {complete:6.1f}x "
            f"{one:14.1f} {many:8.1f} {fetching:6.1f}x {part:11.0%}",
            flush=True,
        )


def ratio(rates: dict[str, list[float]], way: str, to: str) -> float:
    """Return the median ratio of the rounds, which varies least on a busy machine."""
    return statistics.median(a / b for a, b in zip(rates[way], rates[to], strict=True))


def cores() -> int:
    """Return the number of cores."""
    return len(os.sched_getaffinity(0))


def compare_memory(server: seaweed.Seaweed) -> None:
    """Measure the peak memory of all processes together while photos are read into a table."""
    print(f"\n{'photos into a table':28} {'peak MB':>8}")
    peaks = []
    for count in MEMORY_OF:
        folder = fill(server, count)
        peaks.append(peak_of([sys.executable, __file__, "--memory-of", folder]))
        print(f"{count:28,} {peaks[-1] / 1e6:8.0f}", flush=True)
    print(f"{f'{MEMORY_OF[1]:,} over {MEMORY_OF[0]:,}':28} {peaks[1] / peaks[0]:7.2f}x")


def fill(server: seaweed.Seaweed, count: int) -> str:
    """Create a bucket of photos, and return the URL of their folder."""
    folder = f"{server.make_bucket(f'raw-{uuid.uuid4().hex}')}/images"
    jpegs = list(_jpegs())
    lake = Lake(folder)
    for start in range(0, count, 500):
        numbers = range(start, min(count, start + 500))
        lake.filesystem.pipe({f"{lake.root}/{n:06}.jpg": jpegs[n % len(jpegs)] for n in numbers})
    return folder


def _jpegs() -> Iterator[bytes]:
    with tempfile.TemporaryFile() as file:
        for picture in pictures():
            file.seek(0)
            file.truncate()
            picture.resize(SIZE, Image.Resampling.BICUBIC).save(file, "JPEG", quality=88)
            file.seek(0)
            yield file.read()


@contextlib.contextmanager
def behind_proxy(server: seaweed.Seaweed, latency: float) -> Iterator[None]:
    """Redirect every client to a proxy that adds a latency; without latency, use the server itself."""
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
    """Drop cached clients, which would keep the old endpoint."""
    from fb_marketplace_serving.storage.s3 import RetryingS3FileSystem

    RetryingS3FileSystem.clear_instance_cache()


class OneAfterAnother:
    """A folder whose photos are fetched one by one with plain s3fs."""

    def __init__(self, url: str) -> None:
        """Open the folder without a cached client, which may have another endpoint."""
        import s3fs

        self._files = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
        self._root = url.removeprefix("s3://")

    def files(self) -> list[PhotoFile]:
        """List the folder."""
        listing = self._files.find(self._root, detail=True)
        return [
            PhotoFile(path.removeprefix(f"{self._root}/"), info["size"], info["ETag"])
            for path, info in sorted(listing.items())
        ]

    def fetch(self, files: Sequence[PhotoFile]) -> list[bytes]:
        """Fetch photos."""
        return [self._files.cat_file(f"{self._root}/{file.key}") for file in files]


def plain(url: str, bucket: str) -> float:
    """Read photos one by one into a new table, and return photos per second."""
    table = f"{bucket}/{uuid.uuid4().hex}.lance"
    keyed_table.ensure_table(table, IMAGES)
    started = time.perf_counter()
    folder: Any = OneAfterAnother(url)
    files = folder.files()[:BATCH]
    settings = CleaningParameters.model_validate(base_parameters())
    one_process = settings.photos.model_copy(update={"processes": 1})
    settings = settings.model_copy(
        update={"photos": one_process, "display": DisplayParameters(side=0)}
    )
    _, *batches = read_photos(matched_with_rows(files), folder, Keys(), Keys(), Keys(), settings)
    for usable, *_ in batches:
        table_writer.insert(table, usable)
    return len(files) / (time.perf_counter() - started)


def ours(url: str, bucket: str) -> float:
    """Read photos into a new table as a run does, and return photos per second after warm-up."""
    table = f"{bucket}/{uuid.uuid4().hex}.lance"
    keyed_table.ensure_table(table, IMAGES)
    folder = PhotoSource(url)
    files = folder.files()
    matched = matched_with_rows(files)
    settings = CleaningParameters.model_validate(base_parameters())
    started = before = 0.0
    nothing = Keys()
    for number, (usable, *_) in enumerate(
        read_photos(matched, folder, nothing, nothing, nothing, settings)
    ):
        if isinstance(usable, KeepOnly):
            continue
        table_writer.insert(table, usable)
        if number <= cores():
            # A run starts its processes once; their start is not part of the comparison.
            started, before = time.perf_counter(), before + len(usable)
    seconds = time.perf_counter() - started
    assert len(keyed_table.open_table(table)) == len(files)
    return (len(files) - before) / seconds


def fetch_plainly(url: str) -> float:
    """List and fetch photos one by one, and return photos per second."""
    started = time.perf_counter()
    folder = OneAfterAnother(url)
    files = folder.files()[:BATCH]
    folder.fetch(files)
    return len(files) / (time.perf_counter() - started)


def fetch(url: str) -> float:
    """List and fetch photos in batches, in one process, and return photos per second."""
    started = time.perf_counter()
    folder = PhotoSource(url)
    files = folder.files()
    for start in range(0, len(files), BATCH):
        folder.fetch(files[start : start + BATCH])
    return len(files) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
