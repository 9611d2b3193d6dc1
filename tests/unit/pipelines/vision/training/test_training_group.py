"""Trainings in two processes, as Ray Train starts them, but without Ray."""

import json
import multiprocessing
from itertools import chain

import numpy as np
import pytest
import torch
from safetensors.torch import load

from fb_marketplace.compute.training_group import TrainingGroup, training_group
from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.vision.data.dataset import BatchSampler
from fb_marketplace.pipelines.vision.data.task import make_task
from fb_marketplace.pipelines.vision.models.network import make_head, network_weights
from fb_marketplace.pipelines.vision.training import fine_tuning
from fb_marketplace.pipelines.vision.training.fine_tuning import fine_tune
from fb_marketplace.pipelines.vision.training.linear_probe import HeadWeights
from fb_marketplace.storage.checkpoint_dir import CheckpointDir

PROCESSES = 2


@pytest.mark.parametrize(("photos", "size"), [(24, 2), (7, 3), (2, 5)])
def test_parts_are_the_whole_without_overlap(photos, size):
    parts = [TrainingGroup(rank, size).part(photos) for rank in range(size)]

    assert [place for part in parts for place in range(photos)[part]] == [*range(photos)]
    lengths = [part.stop - part.start for part in parts]
    assert max(lengths) - min(lengths) <= 1


def test_processes_share_the_batches_of_one_process():
    alone = [*BatchSampler(20, 8, seed=3)]
    shared = [[*BatchSampler(20, 8, 3, TrainingGroup(rank, 3))] for rank in range(3)]

    assert [[*chain(*parts)] for parts in zip(*shared, strict=True)] == alone


def test_process_alone_is_a_group_of_one():
    group, rows = training_group(), np.ones((2, 3), np.float32)

    assert group == (0, 1)
    assert group.gather(rows) is rows
    assert group.broadcast(lambda: "read") == "read"


def run_rank(rank, store, loop):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=PROCESSES
    )
    loop()
    torch.distributed.destroy_process_group()


class GroupEngine:
    """Engine that trains in two processes of this machine."""

    train_workers, train_device = PROCESSES, "cpu"

    def __init__(self, folder):
        self.folder, self.trainings = folder, 0

    def train(self, loop):
        self.trainings += 1
        store = self.folder / f"store {self.trainings}"
        processes = [
            multiprocessing.get_context("spawn").Process(
                target=run_rank, args=(rank, store, loop), daemon=True
            )
            for rank in range(PROCESSES)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        codes = [process.exitcode for process in processes]
        for process in processes:
            process.kill()
        assert codes == [0, 0]


@pytest.fixture(scope="module")
def recipe(base_recipe, changed):
    """A recipe without the randomness that depends on the rank: mixup and dropout."""
    training = {"mixup": 0.0, "dropout": 0.0, "batch_size": 7}
    return changed(base_recipe, class_weight_power=0.5, fine_tuning=training)


@pytest.fixture(scope="module")
def task(marketplace, recipe):
    """A task with classes of different sizes, so of different weights."""
    task = make_task(*marketplace, recipe)
    classes = task.classes.copy()
    classes[np.flatnonzero(classes == 1)[2:]] = 0
    return task._replace(classes=classes)


@pytest.fixture(scope="module")
def head(task, recipe):
    torch.manual_seed(0)
    weights = network_weights(make_head(recipe, 3, task.paths.counts))
    return HeadWeights(weights, ("Blue", "Green", "Red"))


@pytest.fixture(scope="module")
def trained(task, head, recipe, tmp_path_factory):
    """The folders of the same training: in one process, and in two."""
    alone, shared = (CheckpointDir(str(tmp_path_factory.mktemp(name))) for name in ("one", "two"))
    fine_tune(task, head, alone, recipe)
    engine = GroupEngine(tmp_path_factory.mktemp("stores"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fine_tuning, "current_engine", lambda: engine)
        fine_tune(task, head, shared, recipe)
    return alone, shared


def test_two_processes_train_the_network_of_one(trained):
    alone, shared = trained

    assert shared.names() == alone.names()
    start = load(alone.read("epoch_0000.safetensors"))
    expected, actual = (load(folder.read("epoch_0002.safetensors")) for folder in trained)
    for name, weights in expected.items():
        change, difference = (weights - start[name]).float(), (actual[name] - weights).float()
        # Not by element: AdamW makes steps of equal size from gradients of almost zero.
        assert difference.norm() <= 0.02 * change.norm() + 1e-6, name


def test_batch_smaller_than_the_group_is_rejected(task, head, recipe, tmp_path, monkeypatch):
    engine = GroupEngine(tmp_path)
    engine.train_workers = 8
    monkeypatch.setattr(fine_tuning, "current_engine", lambda: engine)

    with pytest.raises(UserError, match="workers is 8, but a batch has only 7 photos"):
        fine_tune(task, head, CheckpointDir(str(tmp_path / "work")), recipe)


def test_two_processes_have_the_metrics_of_one(trained):
    expected, actual = (json.loads(folder.read("history.json")) for folder in trained)

    for one, two in zip(expected, actual, strict=True):
        assert two == pytest.approx(one, rel=1e-3)
