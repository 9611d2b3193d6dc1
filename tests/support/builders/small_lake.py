"""A lake of a few small files, tables, runs and releases, as whole runs leave it, made in a moment."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.lake_layout import started_at
from fb_marketplace.storage.run_records import RunRecord, RunRecords
from fb_marketplace_serving.release.manifest import (
    ARTIFACTS,
    PHOTO_TABLES,
    Abstention,
    Canary,
    Manifest,
    artifact_of,
)
from fb_marketplace_serving.release.photo_store import FOLDER, file_name
from fb_marketplace_serving.release.pointer import publish
from fb_marketplace_serving.storage.lake import Lake

LETTERS = pa.schema([pa.field("key", pa.string(), nullable=False)])
TABLE = "03_primary/images.lance"


def version(day: int) -> str:
    """The run that began at noon of a day."""
    return f"2026-01-{day:02}T12.00.00.000Z"


class SmallLake:
    """Writes the files of runs into a folder."""

    def __init__(self, root: Path):
        self.root = root

    def file(self, path: str, run: str, content: bytes = b"content") -> str:
        """A version of an entry."""
        name = path.rpartition("/")[2]
        return self.put(f"{path}/{run}/{name}", content)

    def put(self, path: str, content: bytes = b"content") -> str:
        pos = self.root / path
        pos.parent.mkdir(parents=True, exist_ok=True)
        pos.write_bytes(content)
        return path

    def commit(self, keys: Iterable[str], run: str | None = None, table: str = TABLE) -> None:
        """Make a table hold these keys; the version that this makes is the run's, if there is one."""
        url = str(self.root / table)
        keyed_table.ensure_table(url, LETTERS)
        expected = frozenset(keys)
        existing = keyed_table.existing_keys(url)
        built = table_writer.retain(url, expected)
        for key in sorted(expected - existing):
            built = table_writer.insert(url, pa.table({"key": [key]}, schema=LETTERS))
        if run:
            keyed_table.tag(url, run, built)

    def record(self, run: str, built: Iterable[str], read: Mapping[str, str] | None = None) -> None:
        """A run that ended well, a minute after it began."""
        began = started_at(run)
        record = RunRecord(
            version=run,
            pipelines=("__default__",),
            environment="test",
            started=began.isoformat(),
            ended=(began + timedelta(minutes=1)).isoformat(),
            inputs=dict(read or {}),
            outputs=dict.fromkeys(built, run),
            parameters={},
            libraries={},
            code_revision="abc",
        )
        RunRecords(Lake(str(self.root))).write(record)

    def release(self, run: str, photos: bytes) -> None:
        """Publish a release whose photos are in one file."""
        digest = hashlib.sha256(photos).digest()
        place = f"{FOLDER}/{file_name(digest.hex())}"
        self.put(place, photos)
        row = {"image_id": "a", "file": place, "offset": 0, "bytes": len(photos), "sha256": digest}
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist([row]), sink)
        paths = {
            name: self.file(
                f"07_model_output/{name}.bin",
                run,
                sink.getvalue().to_pybytes() if name in PHOTO_TABLES else name.encode(),
            )
            for name in ARTIFACTS
        }
        canary = Canary(
            image_id="a",
            photo=base64.b64encode(photos).decode(),
            probabilities=[1.0],
            embedding=[1.0],
            neighbors=["a"],
        )
        manifest = Manifest(
            version=run,
            created=started_at(run).isoformat(),
            code_revision="abc",
            data_digest="d",
            artifacts={
                name: artifact_of(Lake(str(self.root)), path) for name, path in paths.items()
            },
            labels=("Arts",),
            abstention=Abstention(threshold=0.5, error=0.1),
            photos_version=1,
            embedding_dimension=1,
            counts={},
            metrics={},
            canaries=(canary,),
        )
        publish(Lake(str(self.root)), manifest)

    def whole_run(self, day: int, keys: str) -> str:
        """Write all outputs of a full run of one day with these photos."""
        run = version(day)
        self.file("02_intermediate/source_manifest.json", run)
        self.file("05_model_input/splits.parquet", run)
        self.commit(keys, run)
        history = [{"epoch": 0.0, "validation_loss": float(day)}]
        self.put(f"work/fingerprint{day}/history.json", json.dumps(history).encode())
        self.put(f"work/fingerprint{day}/epoch_0000.safetensors", b"weights")
        output = [{"stage": "head", "epoch": 1}, {"stage": "fine_tuning", **history[0]}]
        self.file("08_reporting/training_history.json", run, json.dumps(output).encode())
        self.put(f"06_models/checkpoints/{run}/checkpoints/epoch_0000.safetensors", b"weights")
        self.release(run, keys.encode())
        built = (
            "source_manifest",
            "splits",
            "images",
            "training_history",
            "checkpoints",
            "release",
        )
        before = {"previous_splits": version(day - 1)} if day > 1 else {}
        self.record(run, built, before)
        return run

    def files(self) -> set[str]:
        return {
            path.relative_to(self.root).as_posix()
            for path in self.root.rglob("*")
            if path.is_file()
        }
