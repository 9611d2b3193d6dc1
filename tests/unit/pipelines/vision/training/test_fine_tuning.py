import numpy as np
import pytest
import torch
from safetensors.torch import load

from fb_marketplace.errors import UserError
from fb_marketplace.observability.progress import collect_counts
from fb_marketplace.pipelines.vision.data.dataset import PhotoDataset
from fb_marketplace.pipelines.vision.data.task import make_task
from fb_marketplace.pipelines.vision.models.network import make_head, network_weights
from fb_marketplace.pipelines.vision.training import fine_tuning, weight_candidates
from fb_marketplace.pipelines.vision.training.fine_tuning import (
    fine_tune,
    make_training_state,
)
from fb_marketplace.pipelines.vision.training.linear_probe import HeadWeights
from fb_marketplace.pipelines.vision.training.weight_candidates import (
    WeightCandidate,
    interpolate_weights,
    read_weights,
    select_best,
)
from fb_marketplace.storage.checkpoint_dir import CheckpointDir


class BrokenOffError(Exception):
    """The machine went away."""


@pytest.fixture(scope="module")
def task(marketplace, base_recipe):
    return make_task(*marketplace, base_recipe)


@pytest.fixture(scope="module")
def head(task, base_recipe):
    torch.manual_seed(0)
    return HeadWeights(
        network_weights(make_head(base_recipe, 3, task.paths.counts)), ("Blue", "Green", "Red")
    )


@pytest.fixture
def work(tmp_path):
    """Gives work folders by name."""
    return lambda name="work": CheckpointDir(str(tmp_path / name))


def content(folder):
    return {name: folder.read(name) for name in folder.names()}


def weights_at(folder, epoch):
    return load(folder.read(f"epoch_{epoch:04}.safetensors"))


def states(folder):
    return [name for name in folder.names() if name.startswith("state_")]


def test_separable_task_is_learned(task, head, work, base_recipe, changed):
    every_block = changed(
        base_recipe,
        fine_tuning={
            "trainable_blocks": -1,
            "epochs": 6,
            "learning_rate": 0.005,
            "head_learning_rate": 0.02,
            "ema_decay": 0.5,
        },
    )

    epochs = fine_tune(task, head, work(), every_block)

    right = [epoch.metrics["validation_accuracy"] for epoch in epochs]
    assert max(right) >= 5 / 6
    assert max(right) > right[0]
    assert epochs[-1].metrics["training_loss"] < epochs[1].metrics["training_loss"]


@pytest.fixture(scope="module")
def trained(task, head, base_recipe, tmp_path_factory):
    """A training of two epochs: its work folder and results."""
    folder = CheckpointDir(str(tmp_path_factory.mktemp("trained")))
    return folder, fine_tune(task, head, folder, base_recipe)


def test_frozen_blocks_are_unchanged(trained):
    folder, _ = trained

    before, after = weights_at(folder, 0), weights_at(folder, 2)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    parts = {".".join(name.split(".")[:2]) for name in moved}
    assert parts == {"trunk.block3", "trunk.block4", "head.fc"}
    assert {name for name in before if name.startswith("trunk.block4")} <= moved


def test_each_epoch_saves_weights_and_metrics(trained):
    folder, epochs = trained

    assert [epoch.metrics["epoch"] for epoch in epochs] == [0, 1, 2]
    assert {file for epoch in epochs for file in epoch.files} <= set(folder.names())
    assert "training_loss" not in epochs[0].metrics
    for epoch in epochs[1:]:
        assert np.isfinite(list(epoch.metrics.values())).all()


def test_finished_training_has_no_resume_state(trained):
    assert states(trained[0]) == []


@pytest.fixture(scope="module")
def undisturbed(task, head, base_recipe, changed, tmp_path_factory):
    """A training of three epochs: its work folder, recipe and results."""
    folder = CheckpointDir(str(tmp_path_factory.mktemp("undisturbed")))
    three = changed(base_recipe, fine_tuning={"epochs": 3})
    return folder, three, fine_tune(task, head, folder, three)


def break_off_while_reading(monkeypatch):
    read = PhotoDataset.__getitems__

    def reading(dataset, drawn):
        if drawn[0].epoch == 2:
            reading.batches += 1
            if reading.batches == 2:
                raise BrokenOffError
        return read(dataset, drawn)

    reading.batches = 0
    monkeypatch.setattr(PhotoDataset, "__getitems__", reading)


def break_off_while_writing(name):
    def break_off(monkeypatch):
        write = CheckpointDir.write

        def writing(folder, written, content):
            if written == name:
                raise BrokenOffError
            write(folder, written, content)

        monkeypatch.setattr(CheckpointDir, "write", writing)

    return break_off


@pytest.mark.parametrize(
    ("break_off", "reached", "left"),
    [
        (break_off_while_reading, "state_0001.safetensors", [2, 3]),
        (break_off_while_writing("state_0002.safetensors"), "state_0001.safetensors", [2, 3]),
        (break_off_while_writing("history.json"), "state_0003.safetensors", []),
    ],
)
def test_interrupted_training_resumes_identically(
    task, head, work, undisturbed, monkeypatch, break_off, reached, left
):
    folder, three, epochs = undisturbed
    with monkeypatch.context() as disturbed:
        break_off(disturbed)
        with pytest.raises(BrokenOffError):
            fine_tune(task, head, work("broken off"), three)
    assert states(work("broken off")) == [reached], "it was to break off there"
    trained, train_epoch = [], fine_tuning.train_epoch

    def count(*parts):
        trained.append(parts[3])
        return train_epoch(*parts)

    monkeypatch.setattr(fine_tuning, "train_epoch", count)

    went_on = fine_tune(task, head, work("broken off"), three)

    assert trained == left
    assert went_on == epochs
    assert [[*epoch.metrics] for epoch in went_on] == [[*epoch.metrics] for epoch in epochs]
    assert content(work("broken off")) == content(folder)


def test_training_finished_by_other_run_is_reused(task, head, work, undisturbed, monkeypatch):
    folder, three, epochs = undisturbed
    with monkeypatch.context() as disturbed:
        break_off_while_writing("state_0002.safetensors")(disturbed)
        with pytest.raises(BrokenOffError):
            fine_tune(task, head, work("shared"), three)
    read, train_epoch, trained = CheckpointDir.read, fine_tuning.train_epoch, []

    def read_too_late(folder, name):
        if name == "state_0001.safetensors":
            monkeypatch.setattr(CheckpointDir, "read", read)
            fine_tune(task, head, work("shared"), three)
            trained.clear()
        return read(folder, name)

    def count(*parts):
        trained.append(parts[3])
        return train_epoch(*parts)

    monkeypatch.setattr(CheckpointDir, "read", read_too_late)
    monkeypatch.setattr(fine_tuning, "train_epoch", count)

    assert fine_tune(task, head, work("shared"), three) == epochs
    assert trained == []
    assert content(work("shared")) == content(folder)


def test_finished_training_is_reused(task, head, trained, base_recipe, monkeypatch):
    folder, epochs = trained
    before = content(folder)

    def train_epoch(*_):
        pytest.fail("it was trained again")

    monkeypatch.setattr(fine_tuning, "train_epoch", train_epoch)
    collect_counts()

    assert fine_tune(task, head, folder, base_recipe) == epochs
    assert content(folder) == before
    assert collect_counts() == [(fine_tuning.EPOCHS, 0, len(epochs) - 1)]


def test_early_stopping_waits_for_patience(task, head, work, base_recipe, changed):
    # Nothing but the head is trained, and that too slowly to change an answer.
    slow = {"trainable_blocks": 0, "learning_rate": 1e-12, "head_learning_rate": 1e-12}
    patient = changed(base_recipe, fine_tuning=slow | {"epochs": 9, "patience": 3})

    epochs = fine_tune(task, head, work(), patient)

    assert [epoch.metrics["epoch"] for epoch in epochs] == [0, 1, 2, 3, 4]


def test_early_stopping_ignores_head_only_epoch(
    task, head, work, base_recipe, changed, monkeypatch
):
    rights = iter([0.9, 0.1, 0.2, 0.3, 0.4, 0.5])

    def validated(*_):
        return {"validation_loss": 1.0, "validation_accuracy": next(rights)}

    monkeypatch.setattr(fine_tuning, "validate", validated)
    patient = changed(base_recipe, fine_tuning={"epochs": 5, "patience": 2, "trainable_blocks": 0})

    epochs = fine_tune(task, head, work(), patient)

    assert [epoch.metrics["epoch"] for epoch in epochs] == [0, 1, 2, 3, 4, 5]


def test_zero_epochs_keep_the_head(task, head, work, base_recipe, changed):
    folder = work()

    (epoch,) = fine_tune(task, head, folder, changed(base_recipe, fine_tuning={"epochs": 0}))

    remaining = weights_at(folder, 0)
    assert epoch.metrics["epoch"] == 0
    assert all(torch.equal(remaining[f"head.{name}"], head.weights[name]) for name in head.weights)


def test_head_with_other_paths_is_rejected(task, head, work, base_recipe):
    plain = head._replace(weights=network_weights(make_head(base_recipe, 3)))

    with pytest.raises(UserError, match=r"vision_head.*\[\].*\[2, 2, 2\]"):
        fine_tune(task, plain, work(), base_recipe)


def test_validation_split_does_not_affect_weights(task, head, trained, work, base_recipe):
    others = task._replace(validation_classes=(task.validation_classes + 1) % 3)
    fine_tune(others, head, work(), base_recipe)

    one, other = weights_at(trained[0], 2), weights_at(work(), 2)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_average_is_between_first_and_last_weights(task, trained, base_recipe, changed):
    folder, epochs = trained
    first, last = weights_at(folder, 0), weights_at(folder, 2)
    (blend,) = interpolate_weights(
        task, epochs, folder, 3, changed(base_recipe, fine_tuning={"wise_ft_alphas": [0.25]})
    )

    mixed = load(read_weights(folder, blend))

    assert blend.metrics["share"] == 0.25
    assert mixed.keys() == last.keys()
    name = "head.fc.weight"
    torch.testing.assert_close(mixed[name], 0.75 * first[name] + 0.25 * last[name])
    assert not torch.equal(mixed[name], last[name])


def test_average_near_last_weights_predicts_alike(task, trained, base_recipe, changed):
    folder, epochs = trained
    nearly = changed(base_recipe, fine_tuning={"wise_ft_alphas": [0.9999]})

    (blend,) = interpolate_weights(task, epochs, folder, 3, nearly)

    for name in ("validation_loss", "validation_accuracy"):
        assert blend.metrics[name] == pytest.approx(epochs[-1].metrics[name], abs=0.01)


def test_average_is_evaluated_once(task, trained, base_recipe, monkeypatch):
    folder, epochs = trained
    measured = interpolate_weights(task, epochs, folder, 3, base_recipe)
    monkeypatch.setattr(
        weight_candidates, "validate", lambda *_: pytest.fail("it was measured anew")
    )

    assert interpolate_weights(task, epochs, folder, 3, base_recipe) == measured
    assert [blend.metrics["share"] for blend in measured] == list(
        base_recipe.fine_tuning.wise_ft_alphas
    )


def test_single_epoch_is_not_averaged(task, trained, base_recipe):
    folder, epochs = trained

    assert interpolate_weights(task, epochs[:1], folder, 3, base_recipe) == []


def test_weights_of_epoch_are_loaded_unchanged(trained):
    folder, epochs = trained

    assert read_weights(folder, epochs[1]) == folder.read("epoch_0001.safetensors")


def measured(accuracy, loss):
    return WeightCandidate(
        {"validation_accuracy": accuracy, "validation_loss": loss}, {"weights": 1.0}
    )


def test_best_weights_have_highest_accuracy():
    candidates = [measured(0.5, 0.1), measured(0.75, 2.0), measured(0.6, 0.1)]

    assert select_best(candidates) == candidates[1]


def test_ties_in_accuracy_are_broken_by_loss():
    candidates = [measured(0.75, 0.3), measured(0.75, 0.2), measured(0.75, 0.4)]

    assert select_best(candidates) == candidates[1]


def test_layer_decay_lowers_the_rate_from_block_to_block(head, base_recipe, changed):
    training = {"layer_decay": 0.5, "trainable_blocks": 2, "learning_rate": 0.1}
    groups = make_training_state(head, changed(base_recipe, fine_tuning=training)).optimizer

    rates = [(group["lr"], group["weight_decay"]) for group in groups.param_groups]
    decay = base_recipe.fine_tuning.weight_decay
    assert rates[:-1] == [(0.05, decay), (0.05, 0.0), (0.1, decay), (0.1, 0.0)]
    assert rates[-1] == (base_recipe.fine_tuning.head_learning_rate, decay)
