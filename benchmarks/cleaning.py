"""Throughput of reading photos, compared with a plain implementation, and peak memory.

The plain implementation is the original project's: open, decode in full, LANCZOS to 256 pixels, black bars,
save, in one process. Ours gives the same photos (see the similarity) and also computes a SHA-256 of source
and result, and the perceptual hash. Both read the same files from disk, alternating within one run.

Expectation before the first measurement: libjpeg's scaled decoding saves most of the work on large photos,
so 6x and 2.5x without hashes, 5x and 2x with them; 1.8x with two processes; constant memory, because
batches are bounded and committed one by one.
"""

import argparse
import io
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from PIL import Image
from skimage.metrics import structural_similarity

from fb_marketplace.compute.shards import map_shards
from fb_marketplace.pipelines.cleaning.photos import read_photo_shard
from fb_marketplace.sample.bucket import generate_bucket
from fb_marketplace.storage.photo_source import PhotoFile, PhotoSource
from fb_marketplace_serving.imaging import canonical

SIZES = {"12 megapixels (4000 x 3000)": (4000, 3000), "1024 x 768": (1024, 768)}
PICTURES = 8
ROUNDS = 5


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        read_into_table(options.folder, options.memory_of)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare_speeds(Path(folder))
        compare_memory(Path(folder))


def compare_speeds(folder: Path) -> None:
    """Time the plain implementation, ours in one process, and ours in two, alternating."""
    print(
        f"{'photos':28} {'plain/s':>8} {'ours/s':>8} {'ratio':>6} {'two/s':>8} {'of one':>6} {'SSIM':>6}"
    )
    for name, size in SIZES.items():
        root = folder / f"{size[0]}"
        files = write_photos(root, size, copies=40 if size[0] > 2000 else 200)
        few = files[: len(files) // 5]
        rates: dict[str, list[float]] = {"plain": [], "ours": [], "two": []}
        for _ in range(ROUNDS):
            rates["plain"].append(rate(few, lambda paths: [plain(path) for path in paths]))
            rates["ours"].append(rate(few, partial(rows, root)))
            rates["two"].append(two_processes(root, files))
        medians = [statistics.median(rates[way]) for way in ("plain", "ours", "two")]
        gain, scaling = (ratio(rates, *ways) for ways in (("ours", "plain"), ("two", "ours")))
        ssim = statistics.mean(similarity(path) for path in files[:PICTURES])
        print(
            f"{name:28} {medians[0]:8.1f} {medians[1]:8.1f} {gain:5.1f}x {medians[2]:8.1f} {scaling:5.2f}x "
            f"{ssim:6.3f}",
            flush=True,
        )


def ratio(rates: dict[str, list[float]], way: str, to: str) -> float:
    """Return the median over rounds of the ratio within a round, which is robust to other load."""
    return statistics.median(a / b for a, b in zip(rates[way], rates[to], strict=True))


def compare_memory(folder: Path) -> None:
    """Measure the peak memory of all processes while photos are read into a table."""
    print(f"\n{'photos into a table':28} {'peak MB':>8}")
    peaks = []
    for count in (2_000, 10_000):
        root = folder / f"memory-{count}"
        write_photos(root, (1024, 768), copies=count // PICTURES)
        peaks.append(
            peak_of([sys.executable, __file__, "--memory-of", str(count), "--folder", str(root)])
        )
        print(f"{count:28,} {peaks[-1] / 1e6:8.0f}")
        shutil.rmtree(root)
    print(f"{'10,000 over 2,000':28} {peaks[1] / peaks[0]:7.2f}x")


def plain(path: Path) -> bytes:
    """Read a photo as the original project does."""
    with Image.open(path) as image:
        upright = image.convert("RGB")
    scale = canonical.SIDE / max(upright.size)
    small = upright.resize(
        (round(upright.width * scale), round(upright.height * scale)), Image.Resampling.LANCZOS
    )
    square = Image.new("RGB", (canonical.SIDE, canonical.SIDE))
    square.paste(small, ((canonical.SIDE - small.width) // 2, (canonical.SIDE - small.height) // 2))
    buffer = io.BytesIO()
    square.save(buffer, "JPEG")
    return buffer.getvalue()


def rows(root: Path, paths: Sequence[Path]) -> None:
    """Read photos as cleaning does, in this process."""
    read_photo_shard(photo_shard(root, paths), PhotoSource(str(root)), canonical.Limits())


def two_processes(root: Path, paths: Sequence[Path]) -> float:
    """Return the throughput of two processes, without their start: a run starts them once."""
    read = partial(read_photo_shard, folder=PhotoSource(str(root)), limits=canonical.Limits())
    shards = [photo_shard(root, paths[start : start + 8]) for start in range(0, len(paths), 8)]
    results = map_shards(read, shards, max_workers=2)
    for _ in range(4):
        next(results)
    started = time.perf_counter()
    count = sum(len(rows.images) for rows in results)
    return count / (time.perf_counter() - started)


def rate(paths: Sequence[Path], work: Callable[[Sequence[Path]], object]) -> float:
    """Return photos per second."""
    started = time.perf_counter()
    work(paths)
    return len(paths) / (time.perf_counter() - started)


def similarity(path: Path) -> float:
    """Return the structural similarity (Wang et al., 2004) of both results."""
    with Image.open(io.BytesIO(plain(path))) as image:
        plain_pixels = np.asarray(image)
    pixels = canonical.decode_canonical(canonical.canonicalize(path.read_bytes()))
    return float(structural_similarity(plain_pixels, pixels, channel_axis=2))


def photo_shard(root: Path, paths: Sequence[Path]) -> pa.Table:
    """Return photos as a shard, as cleaning makes it."""
    listed = {file.key: file for file in PhotoSource(str(root)).files()}
    files = [listed[path.name] for path in paths]
    return pa.table(
        {
            "key": [path.name for path in paths],
            "image_id": [path.stem for path in paths],
            "product_id": ["product"] * len(paths),
            "source_key": [file.key for file in files],
            "source_size": [file.size for file in files],
            "source_etag": [file.etag for file in files],
            "display_key": pa.nulls(len(paths), pa.string()),
            "is_stored": [False] * len(paths),
        }
    )


def write_photos(root: Path, size: tuple[int, int], copies: int) -> list[Path]:
    """Write photos of a size, with grain as from a camera; copies are hard links."""
    root.mkdir(parents=True)
    grain = np.random.default_rng(0).normal(0, 5, (size[1], size[0], 3))
    paths = []
    for number, picture in enumerate(pictures()):
        enlarged = np.asarray(picture.resize(size, Image.Resampling.BICUBIC), dtype=np.float64)
        first = root / f"{number}-0.jpg"
        pixels = np.clip(enlarged + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(first, quality=88)
        paths.append(first)
        for copy in range(1, copies):
            paths.append(root / f"{number}-{copy}.jpg")
            paths[-1].hardlink_to(first)
    return sorted(paths, key=lambda path: path.stem.partition("-")[::-1])


def pictures() -> Iterator[Image.Image]:
    """Yield a few photos of the sample."""
    count = 0
    for key, content in generate_bucket(60, 7).files():
        if count == PICTURES:
            return
        if key.startswith("images/") and content.startswith(b"\xff\xd8\xff"):
            try:
                with Image.open(io.BytesIO(content)) as image:
                    picture = image.convert("RGB")
            except OSError:
                continue
            if min(picture.size) > canonical.SIDE:
                count += 1
                yield picture


def matched_with_rows(files: Sequence[PhotoFile]) -> Any:
    """Return a matched row for each file, as cleaning makes them."""
    import pandas as pd

    return pd.DataFrame(
        {
            "image_id": [file.key.removesuffix(".jpg") for file in files],
            "product_id": "product",
            "source_key": [file.key for file in files],
            "source_size": [file.size for file in files],
            "source_etag": [file.etag for file in files],
        }
    )


def read_into_table(folder: Path, count: int) -> None:
    """Read a folder's photos into a table, as the node and its dataset do."""
    from fb_marketplace.parameters.cleaning import CleaningParameters
    from fb_marketplace.pipelines.cleaning.photos import read_photos
    from fb_marketplace.schemas.lance import IMAGES
    from fb_marketplace.storage import keyed_table, table_writer
    from fb_marketplace.storage.keyed_table import KeepOnly
    from fb_marketplace.storage.keys import Keys

    source = PhotoSource(str(folder))
    files = source.files()
    assert len(files) == count
    matched = matched_with_rows(files)
    settings = base_parameters()
    table = str(folder / "table.lance")
    keyed_table.ensure_table(table, IMAGES)
    parameters = CleaningParameters.model_validate(settings)
    nothing = Keys()
    for usable, *_ in read_photos(matched, source, nothing, nothing, nothing, parameters):
        if not isinstance(usable, KeepOnly):
            table_writer.insert(table, usable)
    assert len(keyed_table.open_table(table)) == count


def base_parameters() -> dict[str, object]:
    """Read the cleaning parameters of ``conf/base``."""
    import yaml

    conf = Path(__file__).parents[1] / "conf/base/parameters_cleaning.yml"
    return dict(yaml.safe_load(conf.read_text())["cleaning"])


def peak_of(command: Sequence[str]) -> int:
    """Return the peak proportional set size of a command and its children, in bytes."""
    process = subprocess.Popen(command)
    parent, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        used = 0
        try:
            for child in (parent, *parent.children(recursive=True)):
                used += child.memory_full_info().pss
        except psutil.Error:
            continue
        peak = max(peak, used)
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return peak


if __name__ == "__main__":
    main()
