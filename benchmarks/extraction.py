"""Photos a second from the table of photos to that of vectors, beside the encoder on pixels in memory.

The extraction is the stage itself, with its dataset: read, decode, encode, write, tag; opening the encoder
and naming the keys are counted. The encoder alone is timed twice, on the same photos in batches of the same
size: with all cores on one batch, which is how a runtime comes and how it was done before, and with a batch
a core, which is how it is done now. All in turn, round by round; ratios are within a round.

Expected before it was measured, on 2 cores: a batch a core 1.3x of all cores on one, which had been seen to
give 78 photos a second where one core gives 54; the whole extraction 0.9 of the encoder alone with a batch
a core, since a photo takes some 18 ms to encode, 1 to decode, and far less to be read and written; and so
more than the encoder alone as it was. On one core both ways alone are one, and the ratio 0.9.

Run by ``benchmarks/encoding.py``, which says with which encoder.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import yaml
from kedro.io import Version
from numpy.typing import NDArray
from photos_of_sample import sample_photos

from fb_marketplace.compute.parallel import available_cores
from fb_marketplace.datasets.lance_table import LanceTableDataset
from fb_marketplace.ml.batch_inference import open_encoder
from fb_marketplace.parameters.embeddings import EmbeddingParameters
from fb_marketplace.pipelines.embeddings.embed_images import embed_images, plan_image_embeddings
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table, open_table
from fb_marketplace_serving.encoders.image import Encoder
from fb_marketplace_serving.imaging import canonical

ROUNDS = 5
PHOTOS = 512
SIZES = (1, 3, 8, 13, 32)
Cuts = list[NDArray[np.uint8]]


def print_extraction(graph: bytes) -> None:
    """Print photos a second of each way, ratios, and what the size of a batch changes."""
    told = recommended()
    with tempfile.TemporaryDirectory() as folder:
        images = sample_photos(Path(folder), PHOTOS)
        encoder = FileRef(str(Path(folder, "encoder.onnx")))
        Path(encoder.url).write_bytes(graph)
        pixels = np.stack(
            [
                canonical.decode_canonical(each)
                for each in images.read(["jpeg"]).column("jpeg").to_pylist()
            ]
        )
        cuts = [
            pixels[start : start + told.photos_per_batch]
            for start in range(0, PHOTOS, told.photos_per_batch)
        ]
        whole, shared = Encoder.from_bytes(graph, available_cores()), open_encoder(graph)
        ways: dict[str, Callable[[str], None]] = {
            "encoder alone, all cores on a batch": lambda _: one_by_one(whole, cuts),
            "encoder alone, a batch a core": lambda _: side_by_side(shared, cuts),
            "read, decode, encode, write": lambda name: extract(
                images, encoder, str(Path(folder, name)), told
            ),
        }
        compare(ways)
        print_sizes(shared, pixels[: 2 * SIZES[-1]])


def compare(ways: dict[str, Callable[[str], None]]) -> None:
    """Time all ways in turn, round by round; print medians, and ratios within a round to both alone."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for count in range(ROUNDS):
        for name, way in ways.items():
            started = time.perf_counter()
            way(f"round-{count}.lance")
            rates[name].append(PHOTOS / (time.perf_counter() - started))
    alone = list(ways)[:2]
    print(
        f"\n{f'{PHOTOS:,} photos, {available_cores()} cores':38} {'photos/s':>9}"
        f" {'of all on one':>14} {'of one each':>12}"
    )
    for name, found in rates.items():
        told = [
            statistics.median(a / b for a, b in zip(found, rates[each], strict=True))
            for each in alone
        ]
        print(f"{name:38} {statistics.median(found):9.1f} {told[0]:13.2f}x {told[1]:11.2f}x")


def one_by_one(encoder: Encoder, cuts: Cuts) -> None:
    """Encode batch after batch."""
    for cut in cuts:
        encoder.encode(cut)


def side_by_side(encoder: Encoder, cuts: Cuts) -> None:
    """Encode as many batches at once as there are cores."""
    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(encoder.encode, cuts))


def extract(images: Table, encoder: FileRef, url: str, told: EmbeddingParameters) -> None:
    """Make the table of vectors as a run does."""
    dataset = LanceTableDataset(
        url, "fb_marketplace.schemas.lance.IMAGE_EMBEDDINGS", Version("run", "run")
    )
    for rows in embed_images(
        images, encoder, plan_image_embeddings(images, encoder, frozenset()), told
    ):
        dataset.save(rows)
    dataset.seal()
    assert len(open_table(url, "run")) == PHOTOS


def print_sizes(encoder: Encoder, pixels: NDArray[np.uint8]) -> None:
    """Print what batches of each size give on one core: photos a second, and how far vectors differ.

    That is the largest difference of a number of a vector from that of its photo encoded alone.
    """
    print(f"\n{'photos in a batch, on one core':38}" + "".join(f"{size:8}" for size in SIZES))
    rates: dict[int, list[float]] = {size: [] for size in SIZES}
    found: dict[int, NDArray[np.float32]] = {}
    for _ in range(ROUNDS):
        for size in SIZES:
            started = time.perf_counter()
            cuts = [pixels[start : start + size] for start in range(0, len(pixels), size)]
            found[size] = np.concatenate([encoder.encode(cut).embeddings for cut in cuts])
            rates[size].append(len(pixels) / (time.perf_counter() - started))
    print(f"{'photos/s':38}" + "".join(f"{statistics.median(rates[size]):8.1f}" for size in SIZES))
    differences = [float(np.abs(found[size] - found[1]).max()) for size in SIZES]
    print(
        f"{'largest difference to one alone':38}" + "".join(f"{each:8.1g}" for each in differences)
    )


def recommended() -> EmbeddingParameters:
    """Give the parameters that stand in ``conf/base``."""
    path = Path(__file__).parents[1] / "conf/base/parameters_embeddings.yml"
    return EmbeddingParameters.model_validate(yaml.safe_load(path.read_text())["embeddings"])
