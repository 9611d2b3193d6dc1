"""Seconds, peak memory and growth exponent of each node, and start, memory and latencies of the server.

For each size, listings are generated and the complete pipeline is run on them. The exponent is that of the
CPU seconds between the last two sizes: 1 is linear, 2 quadratic. Peak memory is that of the run's process,
which keeps what earlier nodes have loaded.

``--photos small`` replaces the photos by pictures of 64 pixels, and the networks by tiny random ones, so
that all other nodes can be measured at 50,000 listings within an hour. ``--synthetic`` measures the
functions that compare all listings or photos, on random vectors and generated texts, each in a process of
its own.

Expected: no exponent above 1.2 between 10,000 and 50,000 listings, since searches that evaluate or train
are sampled, and comparisons use clusters or indexes. At 100,000 listings at most 4 GB, and at a million
random vectors or texts at most 12 GB. The server's latencies grow with the logarithm of the listings, its
memory with their files.
"""

import argparse
import itertools
import json
import math
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from http_load import Answer
from PIL import Image
from server_process import HERE, memory, quantile, running

from fb_marketplace.sample.bucket import generate_bucket

BIN: Final = Path(sys.executable).parent
FROZEN: Final = {"vision.fine_tuning.epochs": 0}
"""Recipe of ``--photos generated``: frozen features and a head, in addition to ``--env=sample``."""

TINY: Final = FROZEN | {
    "vision.backbone": "cnn",
    "vision.weights": "none",
    "vision.input_side": 64,
    "vision.fine_tuning.augmentation.crop_size": 64,
    "vision.encoder.precision": "fp32",
    "text_encoder.weights": "random",
    "text_encoder.precision": "fp32",
}
SIDE, BLOCKS = 64, 16
SEARCHES: Final = 300
PATHS: Final = 300
DIMENSION: Final = 256


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[600, 2_400, 10_000, 50_000])
    parser.add_argument("--photos", choices=["generated", "small"], default="small")
    parser.add_argument("--params", default="", help="further parameters, as for kedro run")
    parser.add_argument("--folder", type=Path, help="keep buckets and lakes here, and reuse them")
    parser.add_argument("--synthetic", action="store_true", help="random vectors and texts instead")
    options = parser.parse_args()
    if options.synthetic:
        print_growth({size: synthetic(size) for size in options.sizes})
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        reports = {
            size: run_pipeline(folder, size, options.photos, options.params)
            for size in options.sizes
        }
        print_growth(reports)
        for size in options.sizes:
            measure_server(folder / f"lake{size}", size)


def run_pipeline(folder: Path, size: int, photos: str, params: str) -> dict[str, dict[str, float]]:
    """Run the pipeline on a bucket of this size; seconds, CPU seconds and MB of each computed node."""
    raw, lake = folder / f"raw{size}", folder / f"lake{size}"
    recipe = FROZEN if photos == "generated" else TINY
    floors = {f"release.floors.{name}": 0.0 for name in floor_names()}
    words = [f"{name}={value}" for name, value in (recipe | floors).items()] + [params]
    command = [str(BIN / "kedro"), "run", "--env=sample"]
    environment = os.environ | {"FB_RAW": str(raw), "FB_LAKE": str(lake)}
    if not (raw / "ground_truth.json").exists():
        if photos == "generated":
            sample = [*command, "--pipeline=sample", f"--params=sample.products={size}"]
            subprocess.run(sample, check=True, env=environment, cwd=HERE.parent)
        else:
            write_small_bucket(raw, size)
    if not lake.exists():
        run = [*command, f"--params={','.join(filter(None, words))}"]
        subprocess.run(run, check=True, env=environment, cwd=HERE.parent)
    (report, *_) = sorted(lake.glob("08_reporting/run_report.json/*/run_report.json"))
    return {
        node["node"]: {
            "seconds": node["seconds"],
            "cpu": node["cpu_seconds"],
            "mb": max(node["peak_memory_mb"], node.get("largest_child_mb", 0.0)),
        }
        for node in json.loads(report.read_text())["nodes"]
        if node["state"] == "computed"
    }


def floor_names() -> list[str]:
    """Return the metrics that a release must reach; tiny networks reach none."""
    import yaml

    parameters = yaml.safe_load((HERE.parent / "conf/base/parameters_release.yml").read_text())
    return list(parameters["release"]["floors"])


def write_small_bucket(folder: Path, size: int) -> None:
    """Write the tables of a generated bucket, and a random picture of 64 pixels for each photo."""
    for name in ("Assets", "images"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for key, content in itertools.islice(generate_bucket(size, 7).files(), 2):
        (folder / key).write_bytes(content)
    images = pd.read_csv(folder / "Assets" / "Images.csv", dtype=str)
    for name in images["id"].dropna().unique():
        random = np.random.default_rng(zlib.crc32(name.encode()))
        blocks = random.integers(0, 256, (BLOCKS, BLOCKS, 3)).astype(np.uint8)
        picture = Image.fromarray(blocks).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(folder / "images" / f"{name}.jpg", quality=85)
    (folder / "ground_truth.json").write_text("{}")


def print_growth(reports: dict[int, dict[str, dict[str, float]]]) -> None:
    """Print a row for each node, the slowest first."""
    *_, last = reports
    before = list(reports)[-2] if len(reports) > 1 else None
    print(f"{'':32}" + "".join(f"{size:>27,}" for size in reports) + f"{'exponent':>10}")
    print(f"{'node':32}" + f"{'s':>9}{'CPU s':>9}{'MB':>9}" * len(reports))
    names = sorted(reports[last], key=lambda name: -reports[last][name]["cpu"])
    for name in names:
        row = f"{name:32}"
        for report in reports.values():
            node = report.get(name)
            row += (
                f"{node['seconds']:9.1f}{node['cpu']:9.1f}{node['mb']:9,.0f}" if node else " " * 27
            )
        if before and name in reports[before]:
            cpu = [max(0.1, reports[size][name]["cpu"]) for size in (before, last)]
            row += f"{math.log(cpu[1] / cpu[0]) / math.log(last / before):10.2f}"
        print(row, flush=True)


def measure_server(lake: Path, size: int) -> None:
    """Print the start of the server, its memory, and the latencies of searches by one client."""
    from fb_marketplace_serving.release.loader import Release

    titles = [listing.title for listing in Release.open(str(lake)).listings.values()]
    with tempfile.NamedTemporaryFile("w") as texts:
        texts.write("\n".join(" ".join(title.split()[:3]) for title in titles[:SEARCHES]))
        texts.flush()
        started = time.perf_counter()
        with running([str(BIN / "fb-serve"), "run", "--lake", str(lake), "--port"]) as (
            port,
            server,
        ):
            seconds, idle = time.perf_counter() - started, memory(server)
            load = [sys.executable, str(HERE / "http_load.py"), str(port), "/search", texts.name]
            load += ["--clients=1", f"--count={SEARCHES}"]
            output = subprocess.run(load, check=True, capture_output=True).stdout
            answers = [Answer(*answer) for answer in json.loads(output)]
            p50, p99 = (1e3 * quantile(answers, share) for share in (0.5, 0.99))
            failed = sum(answer.status != 200 for answer in answers)
            print(
                f"server with {size:,} listings: ready after {seconds:.1f} s, {idle:.0f} MB idle, "
                f"{memory(server):.0f} MB after {SEARCHES} searches; p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
                f"{failed} failed",
                flush=True,
            )


def synthetic(size: int) -> dict[str, dict[str, float]]:
    """Measure each function at a size, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    results = {}
    for function in (comparables, retrieval, projection, bm25):
        with context.Pool(1) as pool:
            results[function.__name__] = pool.apply(measure, (function, size))
    return results


def measure(function: Callable[[int], Callable[[], Any]], size: int) -> dict[str, float]:
    """Prepare a function at a size, and measure it."""
    call = function(size)
    started, cpu = time.perf_counter(), time.process_time()
    call()
    return {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def vectors(size: int, seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Return unit vectors around as many centers as there are category paths."""
    random = np.random.default_rng(seed)
    centers = random.normal(size=(PATHS, DIMENSION)).astype(np.float32)
    points = random.standard_normal((size, DIMENSION), dtype=np.float32)
    points += 1.5 * centers[np.arange(size) % PATHS]
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points


def comparables(size: int) -> Callable[[], Any]:
    """Comparable listings of all listings, in 13 markets."""
    from fb_marketplace.pipelines.pricing.comparable_listings import Kinds, find_comparable_listings

    path = (np.arange(size) % PATHS).astype(np.int32)
    kinds = Kinds(path % 13, path, np.arange(size, dtype=np.int32))
    points = vectors(size)
    return lambda: find_comparable_listings(points, kinds, 40, 0.05, 0.5)


def retrieval(size: int) -> Callable[[], Any]:
    """Exhaustive retrieval of 2,000 photos among the test split's, a tenth of 1.7 photos a listing."""
    from fb_marketplace.evaluation.sampling import sample_rows
    from fb_marketplace.pipelines.indexing.exact_ranking import rank_all
    from fb_marketplace.pipelines.indexing.gallery import Gallery

    photos = int(0.17 * size)
    listing = np.arange(photos) // 2
    names = [f"{number:07}" for number in range(photos)]
    gallery = Gallery(
        pd.DataFrame(
            {
                "image_id": names,
                "product_id": listing,
                "category": listing % 13,
                "category_path": listing % (13 * 23),
                "copies": names,
            }
        )
    )
    points = vectors(photos)
    return lambda: rank_all(points, gallery, sample_rows(names, 2_000, 0))


def projection(size: int) -> Callable[[], Any]:
    """Recall@10 of projected titles and photos, on 5,000 listings at most."""
    from fb_marketplace.pipelines.text.cross_modal_projection import (
        Pairs,
        find_photos,
    )

    listings = min(5_000, size // 10)
    points = vectors(listings)
    pairs = Pairs(points[:, np.newaxis], [""] * listings, np.arange(listings + 1))
    return lambda: find_photos(points, points, pairs)


def bm25(size: int) -> Callable[[], Any]:
    """BM25 index of texts of 40 words."""
    from fb_marketplace.parameters.text import BM25Parameters
    from fb_marketplace.pipelines.text.build_bm25 import build_bm25

    random = np.random.default_rng(0)
    words = np.array([f"w{number}" for number in range(50_000)])
    drawn = np.minimum(random.zipf(1.3, (size, 40)) - 1, len(words) - 1)
    texts = [" ".join(words[row]) for row in drawn]
    products = pd.DataFrame(
        {
            "product_id": [f"{number:07}" for number in range(size)],
            "title": [text[:40] for text in texts],
            "description": texts,
        }
    )
    return lambda: build_bm25(products, BM25Parameters(k1=1.2, b=0.75, title_weight=3))


if __name__ == "__main__":
    main()
