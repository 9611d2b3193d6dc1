"""Photos a second, from files to rows, beside the plain way; and peak memory by number of photos.

The plain way is the original's: open, decode in full, LANCZOS to 256 pixels, black bars, save, in one
process. Ours gives the same photos (see the similarity) and a SHA-256 of source and result, and the
perceptual hash, as well. Both read the same files from disk, in turn, in this one run.

Expected before it was measured: libjpeg's scaled decoding spares most of the work on large photos, so
6x and 2.5x without hashes, some 5x and 2x with them; two processes 1.8x; memory flat, since batches
are bounded and rows are committed as they come.
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
from PIL import Image
from skimage.metrics import structural_similarity

from fb_marketplace.compute.parallel import map_batches
from fb_marketplace.pipelines.cleaning.photos import PhotoRequest, read_photo_batch
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
    told = parser.parse_args()
    if told.memory_of:
        read_into_table(told.folder, told.memory_of)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare_speeds(Path(folder))
        compare_memory(Path(folder))


def compare_speeds(folder: Path) -> None:
    """Time the plain way, ours in one process, and ours in two, in turn, round by round."""
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
        one, ours, two = (statistics.median(rates[way]) for way in ("plain", "ours", "two"))
        gain, again = (ratio(rates, *ways) for ways in (("ours", "plain"), ("two", "ours")))
        alike = statistics.mean(similarity(path) for path in files[:PICTURES])
        print(
            f"{name:28} {one:8.1f} {ours:8.1f} {gain:5.1f}x {two:8.1f} {again:5.2f}x {alike:6.3f}",
            flush=True,
        )


def ratio(rates: dict[str, list[float]], way: str, to: str) -> float:
    """Give the median over rounds of the ratio within a round, which a busy machine blurs least."""
    return statistics.median(a / b for a, b in zip(rates[way], rates[to], strict=True))


def compare_memory(folder: Path) -> None:
    """Measure the peak of all processes together while photos are read into a table."""
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
    """Read a photo as the original did."""
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
    read_photo_batch(wanted(root, paths), PhotoSource(str(root)), canonical.Limits())


def two_processes(root: Path, paths: Sequence[Path]) -> float:
    """Time two processes, from when both are at work: a run starts them once."""
    read = partial(read_photo_batch, folder=PhotoSource(str(root)), limits=canonical.Limits())
    batches = [wanted(root, paths[start : start + 8]) for start in range(0, len(paths), 8)]
    done = map_batches(read, batches, processes=2)
    for _ in range(4):
        next(done)
    started = time.perf_counter()
    count = sum(len(usable) for usable, _ in done)
    return count / (time.perf_counter() - started)


def rate(paths: Sequence[Path], work: Callable[[Sequence[Path]], object]) -> float:
    """Give photos a second."""
    started = time.perf_counter()
    work(paths)
    return len(paths) / (time.perf_counter() - started)


def similarity(path: Path) -> float:
    """Give the structural similarity (Wang et al., 2004) of both ways' results."""
    with Image.open(io.BytesIO(plain(path))) as image:
        theirs = np.asarray(image)
    ours = canonical.decode_canonical(canonical.canonicalize(path.read_bytes()))
    return float(structural_similarity(theirs, ours, channel_axis=2))


def wanted(root: Path, paths: Sequence[Path]) -> list[PhotoRequest]:
    """Name photos as cleaning does."""
    listed = {file.key: file for file in PhotoSource(str(root)).files()}
    return [PhotoRequest(path.name, path.stem, "product", listed[path.name]) for path in paths]


def write_photos(root: Path, size: tuple[int, int], copies: int) -> list[Path]:
    """Write photos of a size, with grain like a camera's; copies are links to one file."""
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
    """Give a few photos of the sample."""
    found = 0
    for key, content in generate_bucket(60, 7).files():
        if found == PICTURES:
            return
        if key.startswith("images/") and content.startswith(b"\xff\xd8\xff"):
            try:
                with Image.open(io.BytesIO(content)) as image:
                    picture = image.convert("RGB")
            except OSError:
                continue
            if min(picture.size) > canonical.SIDE:
                found += 1
                yield picture


def matched_with_rows(files: Sequence[PhotoFile]) -> Any:
    """Match each file with a row that names it, as cleaning does before it reads photos."""
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
    """Read a folder's photos into a table, as the node and its dataset do together."""
    from fb_marketplace.parameters.cleaning import CleaningParameters
    from fb_marketplace.pipelines.cleaning.photos import read_photos
    from fb_marketplace.schemas.lance import IMAGES
    from fb_marketplace.storage import keyed_table
    from fb_marketplace.storage.keyed_table import KeepOnly

    source = PhotoSource(str(folder))
    files = source.files()
    assert len(files) == count
    matched = matched_with_rows(files)
    settings = base_parameters()
    table = str(folder / "table.lance")
    keyed_table.ensure_table(table, IMAGES)
    for usable, _ in read_photos(
        matched, source, frozenset(), frozenset(), CleaningParameters.model_validate(settings)
    ):
        if not isinstance(usable, KeepOnly):
            keyed_table.insert(table, usable)
    assert len(keyed_table.open_table(table)) == count


def base_parameters() -> dict[str, object]:
    """Read what ``conf/base`` says of cleaning."""
    import yaml

    conf = Path(__file__).parents[1] / "conf/base/parameters_cleaning.yml"
    return dict(yaml.safe_load(conf.read_text())["cleaning"])


def peak_of(command: Sequence[str]) -> int:
    """Give the largest proportional share of memory, in bytes, that a command and its children held."""
    process = subprocess.Popen(command)
    watched, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        held = 0
        try:
            for each in (watched, *watched.children(recursive=True)):
                held += each.memory_full_info().pss
        except psutil.Error:
            continue
        peak = max(peak, held)
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return peak


if __name__ == "__main__":
    main()
