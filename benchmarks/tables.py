"""Commits, deletions and a resumed run on a table of many keys: ``benchmarks/tables.py --keys 1000000``."""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
from kedro.io import Version
from lance.fragment import write_fragments

from fb_marketplace.datasets.lance_table import LanceTableDataset
from fb_marketplace.parameters.embeddings import EmbeddingParameters
from fb_marketplace.pipelines.embeddings.embed_images import (
    EmbeddingKeys,
    embed_images,
    plan_image_embeddings,
)
from fb_marketplace.schemas.lance import IMAGE_EMBEDDINGS
from fb_marketplace.storage import keyed_table
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import make_key
from fb_marketplace.storage.keyed_table import KeepOnly
from fb_marketplace.storage.table_writer import TableWriter

IMAGES = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("image_id", "sha256")])
SCHEMA = "fb_marketplace.schemas.lance.IMAGE_EMBEDDINGS"
ROWS_PER_BATCH = 256
PARAMETERS = EmbeddingParameters(photos_per_batch=16, photos_per_shard=ROWS_PER_BATCH)
FRAGMENTS = 800
FOREIGN_KEYS = 100_000


def main() -> None:
    """Print the times, reads, writes and files of each step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    count = parser.parse_args().keys
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "encoder.onnx").write_bytes(b"encoder")
        images = f"{folder}/images.lance"
        lance.write_dataset(photos(count), images, schema=IMAGES)
        with in_new_process() as pool:
            print(pool.submit(first_run, folder).result())
        with in_new_process() as pool:
            print(pool.submit(resumed_run, folder).result())
        print(commit_to_many_fragments(f"{folder}/fragments.lance"))
        print(delete_foreign_keys(f"{folder}/foreign.lance"))


def photos(count: int) -> Iterator[pa.RecordBatch]:
    """Yield photos with ids and digests."""
    for start in range(0, count, 65_536):
        numbers = range(start, min(count, start + 65_536))
        yield pa.record_batch(
            [
                [f"photo-{number:032}" for number in numbers],
                [make_key(number) for number in numbers],
            ],
            schema=IMAGES,
        )


def first_run(folder: str) -> str:
    """Write a row for each photo as a run does that computes vectors in no time."""
    started = time.perf_counter()
    images, keys = planned(folder)
    rows = images.read(["image_id", "sha256"]).combine_chunks()
    dataset = LanceTableDataset(f"{folder}/embeddings.lance", SCHEMA, Version("first", "first"))
    dataset.save(KeepOnly(keys.required))
    for start in range(0, len(rows), ROWS_PER_BATCH):
        batch = rows.slice(start, ROWS_PER_BATCH)
        dataset.save(
            pa.table(
                {
                    "key": keys.required.slice(start, ROWS_PER_BATCH),
                    "image_id": batch["image_id"],
                    "image_sha256": batch["sha256"],
                    "encoder_sha256": [keys.encoder_sha256] * len(batch),
                    "probabilities": list(np.zeros((len(batch), 13), np.float32)),
                    "embedding": list(np.ones((len(batch), 16), np.float32)),
                },
                schema=IMAGE_EMBEDDINGS,
            )
        )
    dataset.seal()
    table = lance.dataset(f"{folder}/embeddings.lance")
    return (
        f"{table.count_rows():,} rows in batches of {ROWS_PER_BATCH}: {table.version} versions, "
        f"{len(table.get_fragments())} fragments, {since(started)}"
    )


def resumed_run(folder: str) -> str:
    """Plan and run the stage with all rows present."""
    started = time.perf_counter()
    images, keys = planned(folder)
    dataset = LanceTableDataset(f"{folder}/embeddings.lance", SCHEMA, Version("second", "second"))
    encoder = FileRef(f"{folder}/encoder.onnx")
    for rows in embed_images(images, encoder, keys, PARAMETERS):
        dataset.save(rows)
    dataset.seal()
    return f"resumed with all of {len(keys.required):,} rows present: {since(started)}"


def planned(folder: str) -> tuple[keyed_table.Table, EmbeddingKeys]:
    """Return the photos and the keys of their rows."""
    images = keyed_table.open_table(f"{folder}/images.lance")
    existing = keyed_table.existing_keys(f"{folder}/embeddings.lance")
    return images, plan_image_embeddings(images, FileRef(f"{folder}/encoder.onnx"), existing)


def commit_to_many_fragments(url: str) -> str:
    """Commit a batch to a table of many fragments that the writer has read."""
    table = lance.write_dataset(vectors(0, 0), url)
    batches = [
        write_fragments(vectors(number * ROWS_PER_BATCH, ROWS_PER_BATCH), table, mode="append")
        for number in range(FRAGMENTS)
    ]
    append = lance.LanceOperation.Append([fragment for batch in batches for fragment in batch])
    lance.LanceDataset.commit(url, append, read_version=table.version)
    writer = TableWriter(url)
    end = FRAGMENTS * ROWS_PER_BATCH
    writer.insert(vectors(end, ROWS_PER_BATCH))
    cost = cost_of(lambda: writer.insert(vectors(end + ROWS_PER_BATCH, ROWS_PER_BATCH)), writer)
    return f"commit of {ROWS_PER_BATCH} rows at {FRAGMENTS} fragments: {cost}"


def delete_foreign_keys(url: str) -> str:
    """Delete rows with other keys, every second one of the table."""
    lance.write_dataset(vectors(0, 2 * FOREIGN_KEYS), url)
    writer = TableWriter(url)
    writer.insert(vectors(0, 1))
    required = vectors(0, 2 * FOREIGN_KEYS)["key"].take(np.arange(0, 2 * FOREIGN_KEYS, 2))
    return f"{FOREIGN_KEYS:,} of {2 * FOREIGN_KEYS:,} rows deleted: " + cost_of(
        lambda: writer.retain(required), writer
    )


def vectors(start: int, count: int) -> pa.Table:
    """Return rows with keys and vectors."""
    keys = [make_key(number) for number in range(start, start + count)]
    vector = pa.array(list(np.ones((count, 16), np.float32)), pa.list_(pa.float32()))
    return pa.table({"key": pa.array(keys, pa.string()), "vector": vector})


def cost_of(work: Callable[[], Any], writer: TableWriter) -> str:
    """Format the reads, writes and time of an operation of a writer."""
    dataset: Any = writer._dataset
    dataset.io_stats_incremental()
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    stats = dataset.io_stats_incremental()
    return f"{stats.read_iops} reads, {stats.write_iops} writes, {seconds:.2f} s"


def since(started: float) -> str:
    """Format the time since a moment, and the peak memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = time.perf_counter() - started
    return f"{seconds:.1f} s, {time.process_time():.1f} s of CPU, peak memory {peak:,.0f} MB"


def in_new_process() -> ProcessPoolExecutor:
    """Return a pool of one process, whose peak memory is that of its work."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


if __name__ == "__main__":
    main()
