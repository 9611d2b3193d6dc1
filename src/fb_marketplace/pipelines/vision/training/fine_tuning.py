"""Fine-tuning: trains the last blocks of a backbone with its head, epoch by epoch, resumable.

The recipe: AdamW with linear warmup and cosine decay; gradient clipping; crops, flips, color jitter and
mixup (Zhang et al., 2018); label smoothing; and a moving average of the weights (Polyak and Juditsky,
1992), which becomes the model. Training starts from the linear probe, so that the first steps do not
distort the pretrained features (Kumar et al., 2022).

This module imports torch, so pipeline nodes import it inside functions.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import save

from fb_marketplace.compute.shards import current_engine
from fb_marketplace.compute.training_group import training_group
from fb_marketplace.errors import UserError
from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.vision import FineTuningParameters, VisionParameters
from fb_marketplace.pipelines.vision.data.dataset import BatchSampler, PhotoDataset, make_loader
from fb_marketplace.pipelines.vision.data.task import TrainingTask
from fb_marketplace.pipelines.vision.models.network import (
    Network,
    make_network,
    network_weights,
    path_counts_from_state,
)
from fb_marketplace.pipelines.vision.models.synced_batch_norm import synchronize_batch_norm
from fb_marketplace.pipelines.vision.training import checkpoints
from fb_marketplace.pipelines.vision.training.device import best_device
from fb_marketplace.pipelines.vision.training.linear_probe import HeadWeights
from fb_marketplace.pipelines.vision.training.malloc import reuse_freed_memory
from fb_marketplace.pipelines.vision.training.tensorboard import EVENTS, encode_events
from fb_marketplace.pipelines.vision.training.train_loop import train_epoch
from fb_marketplace.pipelines.vision.training.validation import use_training_precision, validate
from fb_marketplace.pipelines.vision.training.weight_candidates import WeightCandidate
from fb_marketplace.storage.checkpoint_dir import CheckpointDir

HISTORY: Final = "history.json"
"""Metrics of all epochs; written when the training ends."""

WEIGHTS: Final = "epoch_"
"""First part of the names of the files with the weights of an epoch."""

EPOCHS: Final = "epochs trained"

FOLLOW_INTERVAL_S: Final = 2.0
"""Seconds between two looks at the epochs that a cluster has trained."""

EMA_WARMUP: Final = 10
"""Warmup constant c of the moving average: after n steps its decay is at most (1 + n) / (c + n)."""


def fine_tune(
    task: TrainingTask, head: HeadWeights, work: CheckpointDir, parameters: VisionParameters
) -> list[WeightCandidate]:
    """Train or resume; save the weights and metrics of each epoch in the checkpoint directory.

    Epoch 0 is the linear probe on the pretrained backbone. An interrupted training resumes from the last
    completed epoch; on one machine without a GPU it gives the same bytes as an uninterrupted one. A
    completed training is not repeated. With an engine that has training workers, they train.

    Args:
        task: photos and classes.
        head: the linear probe, trained on features of the frozen backbone.
        work: checkpoint directory of this task and recipe.
        parameters: the recipe.

    Returns:
        One candidate per epoch, with ``epoch``, ``training_loss`` and ``learning_rate`` (from epoch 1 on),
        and ``validation_loss`` and ``validation_accuracy`` of the averaged weights.

    Raises:
        UserError: the head was trained for other category paths, or a batch has fewer photos than there are
            workers.
    """
    counts = path_counts_from_state(head.weights)
    expected = task.paths.counts if task.paths else ()
    if counts != expected:
        raise UserError(
            f"vision_head was trained for {list(counts)} paths per category, but the data now has "
            f"{list(expected)}. Rerun `kedro run --pipeline=vision`."
        )
    if HISTORY not in work.names():
        engine = current_engine()
        if engine and engine.train_workers:
            _check_workers(engine.train_workers, task, parameters.fine_tuning)
            with _show_epochs(work, parameters.fine_tuning.epochs):
                engine.train(partial(_train_in_group, task, head, work, parameters))
        else:
            _train(task, head, work, parameters)
        history: list[dict[str, float]] = json.loads(work.read(HISTORY))
    else:
        history = json.loads(work.read(HISTORY))
        with Progress(EPOCHS, len(history) - 1, len(history) - 1):
            pass
    return [
        WeightCandidate(metrics, {_weights_file(int(metrics["epoch"])): 1.0}) for metrics in history
    ]


def make_training_state(
    head: HeadWeights, parameters: VisionParameters
) -> checkpoints.TrainingState:
    """Build the network, the moving average and the optimizer before the first step."""
    config, device = parameters.fine_tuning, best_device()
    network = make_network(parameters, len(head.labels), path_counts_from_state(head.weights))
    network.head.load_state_dict(head.weights)
    network.head.dropout.p = config.dropout
    network.freeze(config.trainable_blocks)
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    use_training_precision(network, config.trainable_blocks)
    groups = _trunk_groups(network, config)
    groups.append({"params": list(network.head.parameters()), "lr": config.head_learning_rate})
    optimizer = torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay)
    for group in optimizer.param_groups:
        group["max_lr"] = group["lr"]

    # Not timm's ModelEmaV3: it has the same warmup but rounds differently, so the weights would differ.
    def update_average(averages: Any, weights: Any, steps: Any) -> None:
        decay = min(config.ema_decay, (1 + int(steps)) / (EMA_WARMUP + int(steps)))
        for average, weight in zip(averages, weights, strict=True):
            if weight.is_floating_point():
                average.lerp_(weight, 1 - decay)
            else:
                average.copy_(weight)

    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=update_average, use_buffers=True
    )
    forward: torch.nn.Module = _PathLogits(network)
    if training_group().size > 1:
        synchronize_batch_norm(network)
        # Buffers are equal: those of normalization, by the line above, and all others do not change.
        forward = torch.nn.parallel.DistributedDataParallel(
            forward, forward_sync_buffers=False, find_unused_parameters=True
        )
    return checkpoints.TrainingState(network, average, optimizer, forward)


class _PathLogits(torch.nn.Module):
    """A network as a function of scaled photos to path logits."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        head = self.network.head
        return head.path_logits(head.embed(self.network.trunk(photos)))


def _trunk_groups(network: Network, config: FineTuningParameters) -> list[dict[str, Any]]:
    """Group the trainable weights of the trunk by learning rate; vectors have no weight decay."""
    blocks = network.trunk.block_weights()
    groups: dict[tuple[float, bool], list[torch.nn.Parameter]] = {}
    rates = {
        id(weight): config.learning_rate * config.layer_decay ** (len(blocks) - 1 - place)
        for place, block in enumerate(blocks)
        for weight in block
    }
    for weight in network.trunk.parameters():
        if weight.requires_grad:
            groups.setdefault((rates[id(weight)], weight.ndim <= 1), []).append(weight)
    return [
        {"params": weights, "lr": rate} | ({"weight_decay": 0.0} if is_vector else {})
        for (rate, is_vector), weights in sorted(groups.items(), key=lambda item: item[0])
    ]


def _train(
    task: TrainingTask, head: HeadWeights, work: CheckpointDir, parameters: VisionParameters
) -> None:
    """Train until the end in this process, or in each process of its group."""
    config, group = parameters.fine_tuning, training_group()
    state = make_training_state(head, parameters)
    history = _resume(work, state)
    if not history:
        history = [{"epoch": 0.0, **validate(state.average.module, task, parameters)}]
        _save_epoch(work, state, history)
    if not _has_ended(history, config):
        _train_epochs(task, state, history, work, parameters)
    if group.rank == 0:
        _finish(work, history)


def _train_in_group(*arguments: Any) -> None:
    with reuse_freed_memory():
        _train(*arguments)


def _train_epochs(
    task: TrainingTask,
    state: checkpoints.TrainingState,
    history: list[dict[str, float]],
    work: CheckpointDir,
    parameters: VisionParameters,
) -> None:
    """Train the missing epochs, and add their metrics to the history."""
    config = parameters.fine_tuning
    batches = BatchSampler(
        len(task.rows), config.batch_size, parameters.seed, group=training_group()
    )
    dataset = PhotoDataset(task.images, task.rows.tolist(), config.augmentation, parameters.seed)
    loader = make_loader(dataset, batches, config.workers)
    with Progress(EPOCHS, config.epochs, len(history) - 1) as progress:
        while not _has_ended(history, config):
            batches.epoch = epoch = len(history)
            trained = train_epoch(state, task, loader, epoch, parameters)
            validated = validate(state.average.module, task, parameters)
            history.append({"epoch": float(epoch), **trained, **validated})
            _save_epoch(work, state, history)
            progress.advance(1)


def _check_workers(workers: int, task: TrainingTask, config: FineTuningParameters) -> None:
    photos = min(config.batch_size, len(task.rows))
    if workers > photos:
        raise UserError(
            f"compute.ray.train.workers is {workers}, but a batch has only {photos} photos to share. "
            f"Set it to at most {photos}."
        )


@contextmanager
def _show_epochs(work: CheckpointDir, epochs: int) -> Iterator[None]:
    """Show the epochs that other processes complete within the context."""

    def trained() -> int:
        return max(0, sum(name.startswith(WEIGHTS) for name in work.names()) - 1)

    has_ended = threading.Event()
    with Progress(EPOCHS, epochs, already := trained()) as progress:

        def advance() -> None:
            nonlocal already
            with suppress(OSError):  # The workers themselves report a store that does not answer.
                count = trained()
                progress.advance(count - already)
                already = count

        def follow() -> None:
            while not has_ended.wait(FOLLOW_INTERVAL_S):
                advance()

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            has_ended.set()
            thread.join()
            advance()


def _has_ended(history: list[dict[str, float]], config: FineTuningParameters) -> bool:
    # Epoch 0, the linear probe, does not count: it may be better than many of the first epochs.
    accuracies = [metrics["validation_accuracy"] for metrics in history[1:]]
    since_best = len(accuracies) - 1 - int(np.argmax(accuracies)) if accuracies else 0
    return len(accuracies) >= config.epochs or since_best >= config.patience


def _resume(work: CheckpointDir, state: checkpoints.TrainingState) -> list[dict[str, float]]:
    """Restore the latest state and return the history, which is empty if nothing was trained."""
    content = training_group().broadcast(partial(_read_state, work))
    if isinstance(content, bytes):
        history: list[dict[str, float]] = checkpoints.restore(content, state)["history"]
        return history
    return content


def _read_state(work: CheckpointDir) -> bytes | list[dict[str, float]]:
    """Read the latest state; without one, the history of a completed training."""
    while files := [name for name in work.names() if name.startswith("state_")]:
        try:
            return work.read(files[-1])
        except FileNotFoundError:
            continue  # A concurrent run of this training has replaced the state, or has finished.
    finished: list[dict[str, float]] = (
        json.loads(work.read(HISTORY)) if HISTORY in work.names() else []
    )
    return finished


def _save_epoch(
    work: CheckpointDir, state: checkpoints.TrainingState, history: list[dict[str, float]]
) -> None:
    """Write the files of the last epoch. The state is written last: if it exists, so do the others."""
    if training_group().rank:
        return
    epoch = int(history[-1]["epoch"])
    work.write(_weights_file(epoch), save(network_weights(state.average.module)))
    work.write(EVENTS, encode_events(history))
    work.write(_state_file(epoch), checkpoints.to_bytes(state, {"history": history}))
    _remove_states(work, before=epoch)


def _finish(work: CheckpointDir, history: list[dict[str, float]]) -> None:
    """Write the history, which marks the end, and remove the states."""
    # Sorted: in a resumed training, the metrics have another order.
    work.write(HISTORY, json.dumps(history, sort_keys=True).encode())
    _remove_states(work, before=len(history))


def _remove_states(work: CheckpointDir, before: int) -> None:
    for name in work.names():
        if name.startswith("state_") and name < _state_file(before):
            work.remove(name)


def _weights_file(epoch: int) -> str:
    return f"{WEIGHTS}{epoch:04}.safetensors"


def _state_file(epoch: int) -> str:
    return f"state_{epoch:04}.safetensors"
