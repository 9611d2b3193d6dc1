"""Photos per second of the embedding stage, compared with the encoder alone on pixels in memory.

The stage runs with its dataset: read, decode, encode, write, tag; opening the encoder and computing the
keys are included. The encoder alone is timed twice on the same photos and batch size: with all cores on
one batch, the default of runtimes, and with one batch per core, as the stage does. Ratios are within a
round.

Expected on 2 cores before the first run: one batch per core 1.3x of all cores on one batch; the stage 0.9
of the encoder alone with one batch per core, as a photo takes 18 ms to encode, 1 ms to decode and much
less to read and write. On one core both modes are equal, and the ratio is 0.9.

Run by ``benchmarks/encoding.py``, which selects the encoder.
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

from fb_marketplace.compute.threads import available_cores
from fb_marketplace.datasets.lance_table import LanceTableDataset
from fb_marketplace.ml.batch_inference import open_encoder
from fb_marketplace.parameters.embeddings import EmbeddingParameters
from fb_marketplace.pipelines.embeddings.embed_images import embed_images, plan_image_embeddings
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table, open_table
from fb_marketplace.storage.keys import Keys
from fb_marketplace_serving.encoders.image import Encoder
from fb_marketplace_serving.imaging import canonical

ROUNDS = 5
PHOTOS = 512
SIZES = (1, 3, 8, 13, 32)
Batches = list[NDArray[np.uint8]]


def print_extraction(graph: bytes) -> None:
    """Print photos per second of each mode, ratios, and the effect of the batch size."""
    parameters = recommended()
    with tempfile.TemporaryDirectory() as folder:
        images = sample_photos(Path(folder), PHOTOS)
        encoder = FileRef(str(Path(folder, "encoder.onnx")))
        Path(encoder.url).write_bytes(graph)
        pixels = np.stack(
            [
                canonical.decode_canonical(jpeg)
                for jpeg in images.read(["jpeg"]).column("jpeg").to_pylist()
            ]
        )
        batches = [
            pixels[start : start + parameters.photos_per_batch]
            for start in range(0, PHOTOS, parameters.photos_per_batch)
        ]
        all_cores, one_core = Encoder.from_bytes(graph, available_cores()), open_encoder(graph)
        ways: dict[str, Callable[[str], None]] = {
            "encoder alone, all cores on one batch": lambda _: one_by_one(all_cores, batches),
            "encoder alone, one batch per core": lambda _: side_by_side(one_core, batches),
            "read, decode, encode, write": lambda name: extract(
                images, encoder, str(Path(folder, name)), parameters
            ),
        }
        compare(ways)
        print_sizes(one_core, pixels[: 2 * SIZES[-1]])


def compare(ways: dict[str, Callable[[str], None]]) -> None:
    """Time all modes in rounds; print medians, and ratios to the encoder alone within a round."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for count in range(ROUNDS):
        for name, way in ways.items():
            started = time.perf_counter()
            way(f"round-{count}.lance")
            rates[name].append(PHOTOS / (time.perf_counter() - started))
    encoder_only = list(ways)[:2]
    print(
        f"\n{f'{PHOTOS:,} photos, {available_cores()} cores':38} {'photos/s':>9}"
        f" {'all on one':>14} {'one per core':>12}"
    )
    for name, per_round in rates.items():
        ratios = [
            statistics.median(a / b for a, b in zip(per_round, rates[other], strict=True))
            for other in encoder_only
        ]
        print(
            f"{name:38} {statistics.median(per_round):9.1f} {ratios[0]:13.2f}x {ratios[1]:11.2f}x"
        )


def one_by_one(encoder: Encoder, batches: Batches) -> None:
    """Encode batches sequentially."""
    for batch in batches:
        encoder.encode(batch)


def side_by_side(encoder: Encoder, batches: Batches) -> None:
    """Encode one batch per core in parallel."""
    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(encoder.encode, batches))


def extract(images: Table, encoder: FileRef, url: str, parameters: EmbeddingParameters) -> None:
    """Write the table of embeddings as a run does."""
    dataset = LanceTableDataset(
        url, "fb_marketplace.schemas.lance.IMAGE_EMBEDDINGS", Version("run", "run")
    )
    for rows in embed_images(
        images, encoder, plan_image_embeddings(images, encoder, Keys()), parameters
    ):
        dataset.save(rows)
    dataset.seal()
    assert len(open_table(url, "run")) == PHOTOS


def print_sizes(encoder: Encoder, pixels: NDArray[np.uint8]) -> None:
    """Print photos per second on one core by batch size, and the largest difference of embeddings.

    Differences are to the embedding of a photo that is encoded in a batch of one.
    """
    print(f"\n{'photos per batch, on one core':38}" + "".join(f"{size:8}" for size in SIZES))
    rates: dict[int, list[float]] = {size: [] for size in SIZES}
    embeddings: dict[int, NDArray[np.float32]] = {}
    for _ in range(ROUNDS):
        for size in SIZES:
            started = time.perf_counter()
            batches = [pixels[start : start + size] for start in range(0, len(pixels), size)]
            embeddings[size] = np.concatenate(
                [encoder.encode(batch).embeddings for batch in batches]
            )
            rates[size].append(len(pixels) / (time.perf_counter() - started))
    print(f"{'photos/s':38}" + "".join(f"{statistics.median(rates[size]):8.1f}" for size in SIZES))
    differences = [float(np.abs(embeddings[size] - embeddings[1]).max()) for size in SIZES]
    print(
        f"{'largest difference to batch of one':38}"
        + "".join(f"{difference:8.1g}" for difference in differences)
    )


def recommended() -> EmbeddingParameters:
    """Return the parameters in ``conf/base``."""
    path = Path(__file__).parents[1] / "conf/base/parameters_embeddings.yml"
    return EmbeddingParameters.model_validate(yaml.safe_load(path.read_text())["embeddings"])
