"""Trainings on a Ray cluster and in one process, as a script: prints their metrics as JSON.

Run by ``ray_cluster``: ``ray_training.py FOLDER PYTHON`` with a folder for photos and checkpoints, and the
Python of the workers.
"""

import io
import json
import os
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image
from support.kedro_project import PROJECT

from fb_marketplace.compute.ray_engine import RayEngine
from fb_marketplace.compute.shards import use_engine
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.data.task import TrainingTask
from fb_marketplace.pipelines.vision.models.network import make_head, network_weights
from fb_marketplace.pipelines.vision.training.fine_tuning import fine_tune
from fb_marketplace.pipelines.vision.training.linear_probe import HeadWeights
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.checkpoint_dir import CheckpointDir
from fb_marketplace_serving.imaging import canonical

SEEDS = 5
CLASSES = 3
TRAINING_PHOTOS, VALIDATION_PHOTOS = 96, 60
SCHEMA = pa.schema([pa.field("key", pa.string(), nullable=False), pa.field("jpeg", pa.binary())])
STATE = "state_0001.safetensors"
"""Written at the end of epoch 1."""


def make_task(url: str) -> TrainingTask:
    """Return photos of noise, whose class is the channel that is a little brighter."""
    generator = np.random.default_rng(0)
    photos = []
    for number in range(TRAINING_PHOTOS + VALIDATION_PHOTOS):
        coarse = generator.integers(60, 160, (6, 8, 3), dtype=np.uint8)
        coarse[..., number % CLASSES] += 24
        buffer = io.BytesIO()
        Image.fromarray(coarse).resize((64, 48)).save(buffer, "JPEG")
        photos.append(canonical.read_photo(buffer.getvalue()).jpeg)
    keys = [f"{number:03}" for number in range(len(photos))]
    keyed_table.ensure_table(url, SCHEMA)
    table_writer.insert(url, pa.table({"key": keys, "jpeg": photos}, schema=SCHEMA))
    rows: NDArray[np.int64] = np.arange(len(photos))
    training, validation = rows[:TRAINING_PHOTOS], rows[TRAINING_PHOTOS:]
    return TrainingTask(
        *(keyed_table.open_table(url), training, training % CLASSES),
        *(None, validation, validation % CLASSES),
    )


def make_recipe() -> VisionParameters:
    """Return a recipe that trains the small network in seconds."""
    text = (PROJECT / "conf/base/parameters_vision.yml").read_text("utf-8")
    values = yaml.safe_load(text)["vision"]
    values |= {"backbone": "cnn", "weights": "none", "input_side": 64, "path_loss_weight": 0}
    training = {"trainable_blocks": -1, "epochs": 3, "batch_size": 16, "workers": 0}
    rates = {"learning_rate": 0.005, "head_learning_rate": 0.02, "ema_decay": 0.5}
    values["fine_tuning"] |= training | rates | {"precision": "fp32"}
    values["fine_tuning"]["augmentation"] |= {"crop_size": 64, "color_jitter": 0.05}
    return VisionParameters.model_validate(values)


class Trainings:
    """Trainings of a network on the same photos."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._task, self._recipe = make_task(str(folder / "photos.lance")), make_recipe()
        torch.manual_seed(0)
        weights = network_weights(make_head(self._recipe, CLASSES))
        self._head = HeadWeights(weights, ("blue", "green", "red"))

    def run(self, name: str, seed: int) -> tuple[CheckpointDir, list[float]]:
        """Train, and return the checkpoints and the validation accuracy of each epoch."""
        work = CheckpointDir(str(self._folder / name))
        recipe = self._recipe.model_copy(update={"seed": seed})
        epochs = fine_tune(self._task, self._head, work, recipe)
        return work, [epoch.metrics["validation_accuracy"] for epoch in epochs]


def kill_worker_in_epoch_2(work: Path, report: dict[str, Any]) -> None:
    """End a process of the group when epoch 1 is complete."""
    while not (work / STATE).exists():
        time.sleep(0.01)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        if path.read_bytes().startswith(b"ray::RayTrainWorker"):
            os.kill(int(path.parent.name), 9)
            break
    report["killed_in"] = max(path.name for path in work.glob("state_*"))
    report["killed_at"] = time.time()


def main(folder: Path, python: str) -> None:
    """Train with several seeds in one process, then by two workers."""
    trainings = Trainings(folder)
    report: dict[str, Any] = {
        "one_process": [trainings.run(f"seed {seed}", seed)[1] for seed in range(SEEDS)]
    }
    train = {
        "workers": 2,
        "cpus_per_worker": 1,
        "use_gpu": False,
        "python": python,
        "max_failures": 1,
    }
    use_engine(RayEngine(shards_per_core=2, memory_per_task=0, max_retries=0, train=train))
    start = time.monotonic()
    undisturbed, report["two_workers"] = trainings.run("undisturbed", 0)
    report["seconds"] = time.monotonic() - start
    killer = Thread(target=kill_worker_in_epoch_2, args=(folder / "killed", report))
    killer.start()
    start = time.monotonic()
    killed, report["after_kill"] = trainings.run("killed", 0)
    report["seconds_with_kill"] = time.monotonic() - start
    killer.join()
    written = (folder / "killed" / "epoch_0001.safetensors").stat().st_mtime
    report["epoch_1_trained_again"] = written > report["killed_at"]
    report["differing"] = [
        name for name in undisturbed.names() if undisturbed.read(name) != killed.read(name)
    ]
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
